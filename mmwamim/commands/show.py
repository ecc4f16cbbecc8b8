"""Draws the losses and reconstructions of a run, or the wavelet pyramid of an image.

    mmwamim show work_dirs/photos_vit_s
    mmwamim show work_dirs/photos_vit_s --images PHOTOS --most 4
    mmwamim show RUN RUN
    mmwamim show cat.jpg

Of a run its work directory is given, or a full checkpoint, whose reconstructions are drawn. The
losses of several runs go into one picture.
"""
import argparse
from pathlib import Path
from typing import List, Optional, Sequence, Union

import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, DefaultScope

from mmwamim.datasets.listing import NoImages, list_images
from mmwamim.datasets.loading import read_rgb
from mmwamim.datasets.splits import pretraining_folder
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.checkpoints.finding import latest_checkpoint
from mmwamim.engine.export.programs import run_config
from mmwamim.errors import MissingFile, UserError
from mmwamim.evaluation.features import image_side
from mmwamim.outputs import check_output_file, check_output_folder
from mmwamim.visualization import draw_losses, draw_reconstructions, save, wavelet_figure

from .calls import as_a_call
from .fields import check_counts

Path_ = Union[str, Path]


def show(what: Union[Path_, Sequence[Path_]], *, images: Optional[Path_] = None, most: int = 6,
         seed: int = 0, wavelet: str = 'haar', level: int = 5,
         out: Optional[Path_] = None) -> List[Path]:
    """Draws runs, a checkpoint or an image.

    Args:
        what: Work directories of runs, a full checkpoint of pre-training, or an image.
        images: What to reconstruct: an image or a folder. Default: those of the run.
        most: Images of a folder at most.
        seed: Of the masks.
        wavelet: For an image: a discrete wavelet of PyWavelets.
        level: For an image: number of levels.
        out: The picture, or for runs the folder for pictures. Default: into the first run, or
            beside what is drawn.

    Returns:
        The pictures that were written.

    Raises:
        UserError: There is nothing to draw there.

    Examples:
        >>> mmwamim.commands.show.show('work_dirs/photos_vit_s')  # doctest: +SKIP
        [PosixPath('.../loss_curve.png'), PosixPath('.../reconstruction.png')]
    """
    check_counts(most=most, level=level)
    things = [Path(one) for one in ([what] if isinstance(what, (str, Path)) else what)]
    if not things:
        raise UserError('what: name a run, a checkpoint or an image to show')
    missing = [thing for thing in things if not thing.exists()]
    if missing:
        raise MissingFile(f'there is no run, checkpoint or image {str(missing[0])!r}')
    first = things[0]
    if out is not None:
        (check_output_folder if first.is_dir() else check_output_file)(out)
    with as_a_call():
        if first.is_dir():
            return _show_runs(things, images, most, seed, Path(out or first))
        if len(things) > 1:
            raise UserError('several things to show must be work directories of runs')
        if first.suffix == '.pth':
            target = Path(out or first.with_name('reconstruction.png'))
            return [reconstruct(first, run_config(first), images, most, seed, target)]
        target = Path(out or f'{first.stem}_wavelets.png')
        draw_wavelets(first, target, wavelet, level)
        return [target]


def _show_runs(runs: List[Path], images: Optional[Path_], most: int, seed: int,
               folder: Path) -> List[Path]:
    pictures = [folder / 'loss_curve.png']
    draw_losses(runs, pictures[0])
    checkpoint = latest_checkpoint(runs[0]) if len(runs) == 1 else None
    if checkpoint is None:
        return pictures
    cfg = run_config(checkpoint)
    if 'target_generator' not in cfg.model:  # no pre-training with a target to draw
        return pictures
    try:
        return [*pictures, reconstruct(checkpoint, cfg, images, most, seed,
                                       folder / 'reconstruction.png')]
    except UserError as error:  # the losses are drawn
        print(error)
        return pictures


def reconstruct(checkpoint: Path_, cfg: Config, images: Optional[Path_], most: int, seed: int,
                out: Path) -> Path:
    """Draws what a full checkpoint predicts; arguments as of :func:`show`."""
    if images is None:
        images = pretraining_folder(cfg.train_dataloader.dataset.data_root)[0] \
            if Path(cfg.train_dataloader.dataset.data_root).is_dir() else None
    if images is None:
        raise UserError(f'the images of the run, {cfg.train_dataloader.dataset.data_root!r}, are '
                        'not here: give others with --images')
    model = load_model(cfg, checkpoint)
    if not hasattr(getattr(model, 'target_generator', None), 'reconstruct'):
        raise UserError(f'the target of {checkpoint} has no inverse transform to draw')
    size = (image_side(model.backbone), ) * 2
    draw_reconstructions(model, read_images(images, size, most, cfg.get('value_range')), out, seed)
    return out


def load_model(cfg: Config, checkpoint: Path_) -> torch.nn.Module:
    """The pre-training model with every weight of the checkpoint, decoders included.

    Raises:
        UserError: The file is missing, or weights are missing or left over.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        preprocessor = cfg.get('data_preprocessor') or cfg.model.get('data_preprocessor')
        model = MODELS.build({**cfg.model, 'data_preprocessor': preprocessor})
    state = read_checkpoint(checkpoint)['state_dict']
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise UserError(
            f'{checkpoint} does not fit {cfg.filename or "its config"}: {len(missing)} weights '
            f'missing ({", ".join(missing[:3])} ...), {len(unexpected)} left over '
            f'({", ".join(unexpected[:3])}). Take a full checkpoint epoch_N.pth, not the encoder '
            'alone')
    return model


def read_images(source: Path_, size: Sequence[int], most: int,
                value_range: Optional[Sequence[float]]) -> torch.Tensor:
    """uint8 (B, 3, H, W), centre crops of a file or of images spread over a folder."""
    transform = Compose([
        dict(type='mmwamim.LoadImage', value_range=value_range),
        dict(type='mmpretrain.ResizeEdge', scale=max(size), edge='short', backend='pillow'),
        dict(type='mmpretrain.CenterCrop', crop_size=(size[1], size[0])),
    ])
    paths = [str(source)]
    if not Path(source).is_file():
        images = list_images(source)
        print(images.describe())
        found = [str(images.root / path) for path in images.paths]
        paths = found[::max(len(found) // most, 1)][:most]
    if not paths:
        raise NoImages(f'no image below {str(source)!r}')
    pictures = [transform(dict(img_path=path))['img'] for path in paths]
    return torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1) for p in pictures])


def draw_wavelets(image: Path_, out: Path_, wavelet: str = 'haar', level: int = 5,
                  mode: str = 'periodization',
                  value_range: Optional[Sequence[float]] = None) -> None:
    """Draws the wavelet pyramid of an image file.

    Raises:
        UserError: Wavelet, level, mode or range do not fit.
    """
    try:
        pixels = read_rgb(str(image), value_range=value_range)
        deepest = max((max(pixels.shape[:2]) - 1).bit_length(), 5)
        if level > deepest:  # of which a cell would be larger than the image
            raise UserError(f'level must be at most {deepest} for this image, not {level}')
        save(wavelet_figure(torch.from_numpy(pixels).permute(2, 0, 1), wavelet, level, mode), out)
    except ValueError as error:  # of the wavelet, its levels or the range
        raise UserError(error) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('what', nargs='+', metavar='RUN|CHECKPOINT|IMAGE')
    parser.add_argument('--images', help='an image or a folder to reconstruct (default: those of '
                        'the run)')
    parser.add_argument('--most', type=int, default=6, help='images of a folder (6)')
    parser.add_argument('--seed', type=int, default=0, help='of the masks')
    parser.add_argument('--wavelet', default='haar', help='for an image: a discrete wavelet')
    parser.add_argument('--level', type=int, default=5, help='for an image: number of levels')
    parser.add_argument('--out', help='picture to write, of a run the folder for pictures')


def run(args: argparse.Namespace) -> None:
    for path in show(**vars(args)):
        print(f'wrote {path}')
