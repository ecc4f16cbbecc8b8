"""Writes the features of a folder of images to a file.

    mmwamim embed ENCODER FOLDER --out features.npz

The file holds ``features``, float32 (N, C), and ``paths``, relative to FOLDER, in the same order.
An image that cannot be read is named, left out and counted.
"""
import argparse
import sys
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Callable, List, Optional, Tuple, Union

import numpy as np
import torch
from mmengine.dataset import Compose, default_collate
from mmengine.registry import MODELS
from torch import nn
from torch.utils.data import Dataset

from mmwamim.datasets.listing import Listing, NoImages, list_images, printable
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.devices import check_device
from mmwamim.engine.checkpoints.writing import write_atomically
from mmwamim.engine.export.programs import load_encoder, run_config
from mmwamim.errors import UserError
from mmwamim.evaluation.features import (
    default_workers,
    evaluation_pipeline,
    image_loader,
    image_side,
    pool_features,
)
from mmwamim.outputs import check_output_file
from mmwamim.weights.card import preprocessor_of

from .automatic import device as best_device
from .calls import as_a_call
from .fields import check_counts

Path_ = Union[str, Path]


@dataclass(frozen=True)
class Embedded:
    """Features of the images of a folder."""

    features: np.ndarray
    """float32 (N, C)."""
    paths: List[str]
    """Of the images, relative to the folder, in the order of the features."""
    unreadable: List[str]
    file: Optional[Path] = None


def embed(encoder: Path_, data: Path_, *, out: Optional[Path_] = None,
          config: Optional[Path_] = None, batch_size: int = 64, workers: Optional[int] = None,
          device: Optional[str] = None) -> Embedded:
    """The features of the images of a folder: the mean of the last level's patch tokens.

    Args:
        encoder: encoder.pth, or a full checkpoint of pre-training.
        data: Images, nested or not.
        out: File to write, .npz with ``features`` and ``paths``. Default: none.
        config: Of the run, if the checkpoint does not hold it.
        batch_size: Images at a time.
        workers: Processes that read images. Default: by the cores.
        device: Where to compute. Default: a GPU if there is one.

    Raises:
        UserError: The checkpoint or the folder cannot be read, or no image of it.

    Examples:
        >>> mmwamim.embed('encoder.pth', 'photos').features.shape  # doctest: +SKIP
        (120, 384)
    """
    if out is not None and Path(out).suffix != '.npz':
        raise UserError(f'--out must end with .npz, not {str(out)!r}')
    if out is not None:
        check_output_file(out)
    check_counts(batch_size=batch_size, workers=workers)
    device = str(check_device(device or best_device()))
    with as_a_call():
        network = load_encoder(encoder, config).to(device)
        images = list_images(data)
        if not images.paths:
            raise NoImages(f'no image found below {printable(data)!r}: {images.describe()}')
        cfg = run_config(encoder, config)
        preprocessor = MODELS.build(dict(preprocessor_of(cfg))).to(device)
        print(images.describe(), file=sys.stderr)
        pipeline = Compose(evaluation_pipeline(image_side(network), cfg.get('value_range')))
        loader = image_loader(Attempts(images, pipeline), batch_size,
                              default_workers() if workers is None else workers, device, sort_out)
        features, paths, unreadable = encode_all(network, preprocessor, loader, len(images.paths))
    if not features:
        raise UserError(f'none of the {len(images.paths)} images in {str(data)!r} could be read')
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

    def __init__(self, images: Listing, pipeline: Callable) -> None:
        self.images, self.pipeline = images, pipeline

    def __len__(self) -> int:
        return len(self.images.paths)

    def __getitem__(self, index: int) -> Tuple[str, Union[dict, str]]:
        path = self.images.paths[index]
        try:
            return path, self.pipeline(dict(img_path=str(self.images.root / path)))
        except UnreadableImage as error:
            return path, printable(error)


def sort_out(attempts: List[tuple]) -> Tuple[List[str], dict, List[tuple]]:
    """Paths and batch of the images that could be read, and the others with what is wrong."""
    good = [(path, sample) for path, sample in attempts if isinstance(sample, dict)]
    bad = [attempt for attempt in attempts if not isinstance(attempt[1], dict)]
    return ([path for path, _ in good],
            default_collate([sample for _, sample in good]) if good else {}, bad)


@torch.no_grad()
def encode_all(encoder: nn.Module, preprocessor: nn.Module, loader, total: int) -> tuple:
    """Features (N, C) in parts and paths of the images that could be read, and the paths of the
    others."""
    features, readable, unreadable = [], [], []
    started, done = time.time(), 0
    for names, batch, bad in loader:
        for path, error in bad:
            unreadable.append(path)
            print(f'\nleft out {error}', file=sys.stderr)
        if names:
            inputs = preprocessor(batch)['inputs']
            features.append(pool_features(encoder(inputs)).cpu().numpy())
            readable += names
        done += len(names) + len(bad)
        left = (time.time() - started) / done * (total - done)
        print(f'\r{done}/{total} images, {left:.0f} s left ', end='', file=sys.stderr)
    print(file=sys.stderr)
    return features, readable, unreadable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('encoder', metavar='ENCODER', help='encoder.pth or epoch_N.pth')
    parser.add_argument('data', metavar='FOLDER', help='images, nested or not')
    parser.add_argument('--out', required=True, help='file for the features, .npz')
    parser.add_argument('--config', help='config of the run, if the checkpoint does not hold it')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, metavar='N', help='processes that read images')
    parser.add_argument('--device', help='cpu, cuda, ... (default: a GPU if there is one)')


def run(args: argparse.Namespace) -> None:
    found = embed(**vars(args))
    print(f'wrote {found.file}: {len(found.paths)} images, {found.features.shape[1]} features '
          f'each, {len(found.unreadable)} left out')
