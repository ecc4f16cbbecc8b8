"""How good the features of a frozen encoder are: k-NN, linear accuracy, effective rank.

    mmwamim probe ENCODER FOLDER
    mmwamim probe ENCODER FOLDER --gpus 8

FOLDER holds train/<class>/* and val/<class>/* (or validation/, test/ and the like; others are
named with --train and --val), or tables, tar shards, data bases or a Hugging Face data set. Where
it has no split to validate with (train/<class>/* alone, or <class>/*), a fifth of each class is
held out, always the same images. The classes are those of the training split. Logistic regression
is fitted to its optimum; ImageNet's usual linear probing is in configs/classification.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from mmwamim.datasets.held_out import SHARE, describe, without_validation
from mmwamim.engine.checkpoints.finding import is_first
from mmwamim.engine.distributed.processes import join_processes, part_processes
from mmwamim.engine.export.arrival import read_fitting
from mmwamim.engine.export.programs import pools_token, run_config
from mmwamim.evaluation.features import (
    LabelledImages,
    default_workers,
    effective_rank,
    extract_levels,
    image_size,
    knn_accuracy,
    linear_accuracy,
)
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.outputs import check_output_file
from mmwamim.machine.devices import Device, check_device
from mmwamim.weights.card import preprocessor_of

from .calls import as_a_call
from .fields import add_columns, check_counts
from .several import add_gpus, takes_gpus

Path_ = Union[str, Path]


@takes_gpus
@settles_arguments
def probe(encoder: Path_, data: Path_, *, train: str = 'train', val: str = 'val',
          k: Sequence[int] = (10, 20), linear: bool = True, every_level: bool = False,
          most: Optional[int] = None, config: Optional[Path_] = None,
          column: Optional[str] = None, label_column: Optional[str] = None, batch_size: int = 64,
          workers: Optional[int] = None, device: Device = None,
          out: Optional[Path_] = None, launcher: str = 'none',
          gpus: Optional[int] = None) -> dict:
    """Accuracies of the frozen features of an encoder, in percent, and their effective rank.

    Args:
        encoder: encoder.pth, or a full checkpoint of pre-training or fine-tuning.
        data: Holds a folder of classes for each split, or for training alone: then a fifth of each
            class is held out. Or a table, tar shards or a data base for each split; or is a Hugging
            Face data set.
        train: The split to learn from.
        val: The split to classify.
        k: Numbers of neighbours.
        linear: Whether to fit logistic regression as well.
        every_level: Also of each level of features that the encoder returns, and of all together.
        most: At most as many images of each split.
        config: Of the run, if the checkpoint does not hold it.
        column: The column of paths or images, where the data have columns.
        label_column: The column of classes there.
        batch_size: Images at a time.
        workers: Processes that read images. Default: by the cores.
        device: Where to compute. Default: a GPU if there is one.
        out: File for the results, .json. Default: none.
        launcher: Who started the processes, which share out the images: ``'none'``, ``'pytorch'``
            or ``'slurm'``. The first one has the results, the others get nothing.
        gpus: As of :func:`mmwamim.pretrain`.

    Returns:
        ``knn_top1_k10``, ..., ``linear_top1``, ``effective_rank``, numbers of images, with
        ``every_level`` a list of the same as ``levels``, and ``held_out``, a share, where the
        split is one of our own.

    Raises:
        UserError: The checkpoint or a split cannot be read.

    Examples:
        >>> mmwamim.probe('encoder.pth', 'pets')['linear_top1']  # doctest: +SKIP
        71.3
    """
    device = str(check_device(device))
    if out is not None:
        check_output_file(out)
    check_counts(batch_size=batch_size, workers=workers, most=most)
    for neighbours in k:
        check_counts(k=neighbours)
    with as_a_call():
        join_processes(launcher)
        result = _probe(encoder, run_config(encoder, config), data, (train, val),
                        dict(column=column, label_column=label_column), k, linear, every_level,
                        most, batch_size, default_workers() if workers is None else workers,
                        device)
    if out is not None and result:
        Path(out).write_text(json.dumps(result, indent=2) + '\n')
    return result


def _probe(checkpoint: Path_, cfg: Config, data: Path_, splits: Sequence[str],
           columns: dict, k: Sequence[int], linear: bool, every_level: bool,
           most: Optional[int], batch_size: int, workers: int, device: str) -> dict:
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmpretrain'):
        backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
        preprocessor = MODELS.build(dict(preprocessor_of(cfg))).to(device)
    backbone.pools_token = pools_token(cfg.model, backbone)
    encoder, _ = read_fitting(checkpoint, backbone)
    train, val, share = _read_splits(data, splits, columns, image_size(backbone), most, cfg)
    backbone.load_state_dict(encoder, strict=False)
    backbone.to(device)
    (known, labels), (queries, truth) = [
        extract_levels(backbone, preprocessor, images, batch_size, progress=True,
                       num_workers=workers)
        for images in (train, val)]
    part_processes()
    if not is_first():
        return {}
    print(file=sys.stderr)

    def judge(known: Tensor, queries: Tensor) -> dict:
        found = dict(effective_rank=round(effective_rank(known, device), 2))
        for neighbours in k:
            found[f'knn_top1_k{neighbours}'] = round(
                knn_accuracy(known, labels, queries, truth, neighbours, device=device), 2)
        if linear:
            found['linear_top1'] = round(
                linear_accuracy(known, labels, queries, truth, device=device), 2)
        return found

    result = dict(checkpoint=str(checkpoint), train_images=len(labels), val_images=len(truth),
                  **(dict(held_out=share) if share else {}), **judge(known[-1], queries[-1]))
    if every_level:
        # Each level counts alike side by side, whatever its scale.
        side_by_side = [torch.cat([F.normalize(level, dim=1) for level in levels], dim=1)
                        for levels in (known, queries)]
        result['levels'] = [*map(judge, known, queries), judge(*side_by_side)]
    return result


def _read_splits(data: Path_, splits: Sequence[str], columns: dict, size: Tuple[int, int],
                 most: Optional[int], cfg: Config) -> tuple:
    """The two splits, with the classes of the first, and the share that was held out for the
    second where the data set has none."""
    fields = dict(value_range=cfg.get('value_range'), channels=cfg.get('channels'), **columns)
    share, prefix = None, without_validation(data) if tuple(splits) == ('train', 'val') else None
    if prefix is not None:
        share, splits = SHARE, (prefix, prefix)
        _note(describe(data, prefix))
    train = LabelledImages(str(data), size, most, split=splits[0], held_out=share, **fields)
    val = LabelledImages(str(data), size, most, classes=train.classes, split=splits[1],
                         held_out=share, takes='held_out', **fields)
    for images in (train, val):
        _note(images.description)
    return train, val, share


def _note(text: str) -> None:
    if is_first():
        print(text, file=sys.stderr)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('encoder', metavar='ENCODER', help='encoder.pth or epoch_N.pth')
    parser.add_argument('data', metavar='FOLDER', help='holds train/<class>/* and val/<class>/*, '
                        'or classes alone; or a table, tar shards, a Hugging Face data set, LMDB')
    parser.add_argument('--config', help='config of the run, if the checkpoint does not hold it')
    parser.add_argument('--no-linear', dest='linear', action='store_false',
                        help='without logistic regression')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='how the processes were started (default: by --gpus)')
    add_gpus(parser)
    add_shared(parser)


def add_shared(parser: argparse.ArgumentParser) -> None:
    """The options that tools/knn.py has, too."""
    parser.add_argument('--train', default='train', metavar='NAME', help='the split to learn from')
    parser.add_argument('--val', default='val', metavar='NAME', help='the split to classify')
    parser.add_argument('--k', type=int, nargs='+', default=[10, 20], help='neighbours')
    parser.add_argument('--every-level', action='store_true',
                        help='also of each level of features, and of all together')
    parser.add_argument('--most', type=int, help='at most as many images of each split')
    add_columns(parser)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, metavar='N', help='processes that read images')
    parser.add_argument('--device', help='cpu, cuda, ... (default: a GPU if there is one)')
    parser.add_argument('--out', help='file for the results, .json')


def run(args: argparse.Namespace) -> None:
    found = probe(**vars(args))
    if found:
        print(json.dumps(found, indent=2))
