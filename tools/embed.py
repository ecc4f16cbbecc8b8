"""Writes the features of a folder of images to a file.

    python tools/embed.py ENCODER FOLDER --out features.npz

The file holds ``features``, float32 (N, C), and ``paths``, relative to FOLDER, in the same order.
An image that cannot be read is named, left out and counted.
"""
import argparse
import sys
import time
from pathlib import Path
from typing import Callable, List, Tuple, Union

import numpy as np
import torch
from mmengine.dataset import Compose, default_collate
from mmengine.registry import MODELS, init_default_scope
from torch.utils.data import Dataset

from mmwamim.datasets.listing import Listing, list_images, printable
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.engine.export.programs import load_encoder, run_config
from mmwamim.errors import UserError, told_in_one_line
from mmwamim.evaluation.features import (
    default_workers,
    evaluation_pipeline,
    image_loader,
    image_side,
    pool_features,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write the features of a folder of images')
    parser.add_argument('checkpoint', help='encoder.pth or epoch_N.pth')
    parser.add_argument('folder', help='images, nested or not')
    parser.add_argument('--out', type=Path, required=True, help='file for the features, .npz')
    parser.add_argument('--config', help='config of the run, if the checkpoint does not hold it')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, default=default_workers(), metavar='N',
                        help='processes that read images')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    if args.out.suffix != '.npz':
        parser.error(f'--out must end with .npz, not {str(args.out)!r}')
    return args


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
def embed(encoder, preprocessor, images: Listing, pipeline, args: argparse.Namespace) -> tuple:
    """Features (N, C) and paths of the images that could be read, and the paths of the others."""
    features, readable, unreadable = [], [], []
    started, done, total = time.time(), 0, len(images.paths)
    loader = image_loader(Attempts(images, pipeline), args.batch_size, args.workers, args.device,
                          sort_out)
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
    return features, readable, unreadable


@told_in_one_line()
def main() -> None:
    args = parse_args()
    init_default_scope('mmpretrain')
    encoder = load_encoder(args.checkpoint, args.config).to(args.device)
    images = list_images(args.folder)
    cfg = run_config(args.checkpoint, args.config)
    preprocessor = MODELS.build(cfg.data_preprocessor).to(args.device)
    print(images.describe(), file=sys.stderr)
    pipeline = Compose(evaluation_pipeline(image_side(encoder), cfg.get('value_range')))
    features, paths, unreadable = embed(encoder, preprocessor, images, pipeline, args)
    if not features:
        raise UserError(f'none of the {len(images.paths)} images in {args.folder!r} could be read')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(args.out, features=np.concatenate(features), paths=np.array(paths))
    print(f'\nwrote {args.out}: {len(paths)} images, {features[0].shape[1]} features each, '
          f'{len(unreadable)} left out')


if __name__ == '__main__':
    main()
