"""Writes the features of images to a file.

    mmwamim embed ENCODER FOLDER --out features.npz

FOLDER is whatever --data of training takes; of several splits all images are taken. The file
holds ``features``, float32 (N, C), and ``paths``, relative to FOLDER, in the same order.
An image that cannot be read is named, left out and counted.
"""
import argparse
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Callable, List, Optional, Tuple, Union

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import MODELS
from torch import nn
from torch.utils.data import Dataset

from mmwamim.datasets.collate import collate_images
from mmwamim.datasets.listing import printable, readable_endings
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.datasets.sources import Source, open_all
from mmwamim.engine.checkpoints.writing import write_atomically
from mmwamim.engine.export.programs import load_encoder, run_config
from mmwamim.errors import UserError
from mmwamim.evaluation.features import (
    default_workers,
    encode,
    evaluation_pipeline,
    image_loader,
    image_size,
    pool_with,
    settle_pool,
)
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.command_line import short_path
from mmwamim.interface.outputs import check_output_file
from mmwamim.interface.progress import Progress
from mmwamim.interface.words import option
from mmwamim.machine.devices import Device, check_device
from mmwamim.weights.card import preprocessor_of

from .calls import as_a_call
from .fields import add_columns, check_counts

Path_ = Union[str, Path]


@dataclass(frozen=True)
class Embedded:
    """Features of images."""

    features: np.ndarray
    """float32 (N, C)."""
    paths: List[str]
    """Of the images, relative to the data, in the order of the features."""
    unreadable: List[str]
    file: Optional[Path] = None


@settles_arguments
def embed(encoder: Path_, data: Path_, *, out: Optional[Path_] = None,
          config: Optional[Path_] = None, column: Optional[str] = None, batch_size: int = 64,
          workers: Optional[int] = None, device: Device = None,
          pool: Optional[str] = None) -> Embedded:
    """The features of images: the mean of the last level's patch tokens; of a fine-tuned
    encoder what its classifier was given.

    Args:
        encoder: encoder.pth, or a full checkpoint of pre-training or fine-tuning.
        data: A folder, nested or not, a table, tar shards, a Hugging Face data set or LMDB.
        out: File to write, .npz with ``features`` and ``paths``. Default: none.
        config: Of the run, if the checkpoint does not hold it.
        column: The column of paths or images, where the data have columns.
        batch_size: Images at a time.
        workers: Processes that read images. Default: by the cores.
        device: Where to compute. Default: a GPU if there is one.
        pool: As of :func:`mmwamim.load_encoder`.

    Returns:
        ``features``, float32 (N, width); ``paths``, relative to ``data``, in the same order;
        ``unreadable``, what was left out; and ``file``, where one was written.

    Raises:
        UserError: The checkpoint or the data cannot be read, or no image of it.

    Examples:
        >>> mmwamim.embed('encoder.pth', 'photos').features.shape  # doctest: +SKIP
        (120, 384)
    """
    if out is not None and Path(out).suffix != '.npz':
        raise UserError(f'{option("out")} must end with .npz, not {str(out)!r}')
    if out is not None:
        check_output_file(out)
    check_counts(batch_size=batch_size, workers=workers)
    device = str(check_device(device))
    with as_a_call():
        network = load_encoder(encoder, config).to(device)
        settle_pool(network, pool)
        cfg = run_config(encoder, config)
        channels = cfg.get('channels')
        endings = (*readable_endings(), '.npy') if channels else None
        images = open_all(str(data), endings, column)
        preprocessor = MODELS.build(dict(preprocessor_of(cfg))).to(device)
        print(images.description, file=sys.stderr)
        pipeline = Compose(evaluation_pipeline(image_size(network), cfg.get('value_range'),
                                               channels))
        loader = image_loader(Attempts(images, pipeline), batch_size,
                              default_workers() if workers is None else workers, device, sort_out)
        features, paths, unreadable = encode_all(network, preprocessor, loader, len(images))
    if not features:
        raise UserError(f'none of the {len(images)} images in {str(data)!r} could be read')
    file = None if out is None else Path(out)
    found = Embedded(np.concatenate(features), paths, unreadable, file)
    if file is not None:
        data = BytesIO()
        np.savez(data, features=found.features, paths=np.array(paths))
        write_atomically(data.getbuffer(), file)
    return found


class Attempts(Dataset):
    """Images as the encoder takes them, or what is wrong with the file.

    Args:
        images: Where they are.
        pipeline: From ``dict(img_path=...)`` to a sample.
    """

    def __init__(self, images: Source, pipeline: Callable) -> None:
        self.images, self.pipeline = images, pipeline

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tuple[str, Union[dict, str]]:
        name = self.images.name(index)
        try:
            record, data = dict(img_path=self.images.key(index)), self.images.read(index)
            return name, self.pipeline(record if data is None else dict(record, img_bytes=data))
        except UnreadableImage as error:
            return name, printable(error)


def sort_out(attempts: List[tuple]) -> Tuple[List[str], dict, List[tuple]]:
    """Paths and batch of the images that could be read, and the others with what is wrong."""
    good = [(path, sample) for path, sample in attempts if isinstance(sample, dict)]
    bad = [attempt for attempt in attempts if not isinstance(attempt[1], dict)]
    return ([path for path, _ in good],
            collate_images([sample for _, sample in good]) if good else {}, bad)


@torch.no_grad()
def encode_all(encoder: nn.Module, preprocessor: nn.Module, loader, total: int) -> tuple:
    """Features (N, C) in parts and paths of the images that could be read, and the paths of the
    others."""
    features, readable, unreadable = [], [], []
    told, done = Progress(total, 'images'), 0
    for names, batch, bad in loader:
        for path, error in bad:
            unreadable.append(path)
            told.clear()
            print(f'left out {error}', file=sys.stderr)
        if names:
            inputs = preprocessor(batch)['inputs']
            features.append(pool_with(encoder, encode(encoder, inputs)).cpu().numpy())
            readable += names
        done += len(names) + len(bad)
        told(done)
    return features, readable, unreadable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('encoder', metavar='ENCODER', help='encoder.pth or epoch_N.pth')
    parser.add_argument('data', metavar='FOLDER', help='images, nested or not; or a table, tar '
                        'shards, a Hugging Face data set, LMDB')
    parser.add_argument('--out', required=True, help='file for the features, .npz')
    parser.add_argument('--config', help='config of the run, if the checkpoint does not hold it')
    add_columns(parser, labels=False)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, metavar='N', help='processes that read images')
    parser.add_argument('--device', help='cpu, cuda, ... (default: a GPU if there is one)')
    parser.add_argument('--pool', choices=['mean', 'token'], help='the mean of the patches, or the '
                        'class token (default: what the classifier, or the loss of '
                        'pre-training, was given)')


def run(args: argparse.Namespace) -> None:
    found = embed(**vars(args))
    print(f'wrote {short_path(found.file)}: {len(found.paths)} images, '
          f'{found.features.shape[1]} features each, {len(found.unreadable)} left out')
