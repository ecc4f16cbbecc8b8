"""Draws what a checkpoint predicts: show_reconstruction.py CONFIG CHECKPOINT IMAGES."""
import argparse
from pathlib import Path

import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmwamim.datasets.listing import NoImages, list_images
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.config.reading import read_config
from mmwamim.errors import UserError, told_in_one_line
from mmwamim.evaluation.features import image_side
from mmwamim.visualization import draw_reconstructions


def load_model(cfg: Config, checkpoint: str) -> torch.nn.Module:
    """The pre-training model with every weight of the checkpoint, decoders included.

    Raises:
        UserError: The file is missing, or weights are missing or left over.
    """
    init_default_scope('mmpretrain')
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    state = read_checkpoint(checkpoint)['state_dict']
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise UserError(
            f'{checkpoint} does not fit {cfg.filename}: {len(missing)} weights missing '
            f'({", ".join(missing[:3])} ...), {len(unexpected)} left over '
            f'({", ".join(unexpected[:3])}). Take a full checkpoint epoch_N.pth, not the encoder '
            'alone')
    return model


def read_images(source: str, size, most: int, value_range) -> torch.Tensor:
    """uint8 (B, 3, H, W), centre crops of a file or of images spread over a folder."""
    transform = Compose([
        dict(type='mmwamim.LoadImage', value_range=value_range),
        dict(type='mmpretrain.ResizeEdge', scale=max(size), edge='short', backend='pillow'),
        dict(type='mmpretrain.CenterCrop', crop_size=(size[1], size[0])),
    ])
    paths = [source]
    if not Path(source).is_file():
        images = list_images(source)
        print(images.describe())
        found = [str(images.root / path) for path in images.paths]
        paths = found[::max(len(found) // most, 1)][:most]
    if not paths:
        raise NoImages(f'no image below {source!r}')
    pictures = [transform(dict(img_path=path))['img'] for path in paths]
    return torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1) for p in pictures])


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Draw reconstructions of a checkpoint')
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='a full checkpoint, epoch_N.pth')
    parser.add_argument('images', help='an image, or a folder of images')
    parser.add_argument('--most', type=int, default=6, help='images of a folder (6)')
    parser.add_argument('--seed', type=int, default=0, help='of the masks')
    parser.add_argument('--out', default='reconstruction.png', help='picture to write')
    args = parser.parse_args()
    cfg = read_config(args.config)
    model = load_model(cfg, args.checkpoint)
    size = (image_side(model.backbone), ) * 2
    images = read_images(args.images, size, args.most, cfg.get('value_range'))
    draw_reconstructions(model, images, args.out, args.seed)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    main()
