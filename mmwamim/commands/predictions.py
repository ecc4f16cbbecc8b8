"""Pictures of a detector's or segmenter's predictions beside the labels.

    mmwamim predictions CONFIG CHECKPOINT
    mmwamim predictions CONFIG CHECKPOINT --data FOLDER --out DIR

One picture for each of the first images of the config's test set, labels left and prediction
right, drawn by the visualizer of mmdet or mmseg.
"""
import argparse
from pathlib import Path
from typing import List, Optional, Union

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, VISUALIZERS, DefaultScope

from mmwamim.datasets.loading import read_rgb, turn_to_size
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.config.data import settle_data
from mmwamim.engine.config.reading import read_config
from mmwamim.engine.distributed.processes import settle_processes
from mmwamim.errors import UserError
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.progress import Progress

from .architectures import find_config
from .calls import as_a_call
from .fields import check_counts

Path_ = Union[str, Path]


@settles_arguments
def predictions(config: Path_, checkpoint: Path_, *, data: Optional[Path_] = None,
                out: Path_ = 'predictions', most: int = 6, score: float = 0.5) -> List[Path]:
    """Draws what a detector or segmenter predicts beside the labels.

    Args:
        config: Of detection or segmentation.
        checkpoint: Of that config.
        data: The folder of its data set. Default: as the config says.
        out: Folder for the pictures.
        most: Pictures at most.
        score: Boxes of at least this score are drawn.

    Returns:
        The pictures that were written.

    Raises:
        UserError: The config is of another task, its data are not there, or the checkpoint does not
            fit.

    Examples:
        >>> mmwamim.predictions(  # doctest: +SKIP
        ...     'configs/trials/upernet_swin_small_coco100.py', 'epoch_1.pth', most=1)
        [PosixPath('/home/me/predictions/000000000139.png')]
    """
    check_counts(most=most)
    cfg = read_config(find_config(config))
    scope = cfg.get('default_scope')
    if scope not in ('mmdet', 'mmseg'):
        raise UserError(f'{config} is neither of mmdet nor of mmseg')
    with as_a_call(), DefaultScope.overwrite_default_scope(scope):
        settle_data(cfg, data and str(data))
        settle_processes(cfg, 'none')
        model = load_model(cfg, config, checkpoint)
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        visualizer = VISUALIZERS.build(dict(cfg.visualizer, vis_backends=None))
        visualizer.dataset_meta = dataset.metainfo
        return _draw(cfg, model, dataset, visualizer, Path(out), most, score)


def load_model(cfg: Config, config: Path_, checkpoint: Path_) -> torch.nn.Module:
    """The config's model with every weight of the checkpoint, ready for evaluation."""
    state = read_checkpoint(checkpoint)['state_dict']
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f'{checkpoint} is not a checkpoint of {config}: {error}') from error
    model.eval()
    return model


def _draw(cfg: Config, model: torch.nn.Module, dataset, visualizer, out: Path, most: int,
          score: float) -> List[Path]:
    drawn = dict(pred_score_thr=score) if cfg.default_scope == 'mmdet' else dict(with_labels=False)
    out.mkdir(parents=True, exist_ok=True)
    count, pictures = min(most, len(dataset)), []
    told = Progress(count, 'pictures')
    for number in range(count):
        with torch.no_grad():
            sample = model.test_step(pseudo_collate([dataset[number]]))[0].cpu()
        pixels = read_rgb(sample.img_path, value_range=cfg.get('value_range'))
        image = turn_to_size(sample.img_path, pixels, sample.ori_shape)
        pictures.append(out / f'{Path(sample.img_path).stem}.png')
        visualizer.add_datasample(pictures[-1].stem, image, sample, draw_gt=True, show=False,
                                  out_file=str(pictures[-1]), **drawn)
        told(number + 1)
    return pictures


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', metavar='CONFIG', help='a detection or segmentation config')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='a checkpoint of that config')
    parser.add_argument('--data', metavar='FOLDER', help='the folder of its data set')
    parser.add_argument('--out', type=Path, default=Path('predictions'), metavar='DIR')
    parser.add_argument('--most', type=int, default=6, help='number of pictures')
    parser.add_argument('--score', type=float, default=0.5, help='boxes of at least this score')


def run(args: argparse.Namespace) -> None:
    predictions(**vars(args))
    print(f'\nwrote {args.out}')
