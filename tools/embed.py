"""Writes the features of a folder of images to a file.

    python tools/embed.py ENCODER FOLDER --out features.npz

The file holds ``features``, float32 (N, C), and ``paths``, relative to FOLDER, in the same order.
An image that cannot be read is named, left out and counted.
"""
import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose, default_collate
from mmengine.registry import MODELS, init_default_scope

from mmwamim.datasets.listing import Listing, list_images, printable
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.engine.export import load_encoder, run_config
from mmwamim.errors import told_in_one_line
from mmwamim.evaluation.features import evaluation_pipeline, image_side, pool_features


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write the features of a folder of images')
    parser.add_argument('checkpoint', help='encoder.pth or epoch_N.pth')
    parser.add_argument('folder', help='images, nested or not')
    parser.add_argument('--out', type=Path, required=True, help='file for the features, .npz')
    parser.add_argument('--config', help='config of the run, if the checkpoint does not hold it')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    if args.out.suffix != '.npz':
        parser.error(f'--out must end with .npz, not {str(args.out)!r}')
    return args


@torch.no_grad()
def embed(encoder, preprocessor, images: Listing, pipeline, args: argparse.Namespace) -> tuple:
    """Features (N, C) and paths of the images that could be read, and the paths of the others."""
    features, paths, unreadable, batch = [], [], [], []
    started = time.time()

    def flush() -> None:
        if batch:
            inputs = preprocessor(default_collate(batch))['inputs']
            features.append(pool_features(encoder(inputs)).cpu().numpy())
            batch.clear()

    total = len(images.paths)
    for number, path in enumerate(images.paths, start=1):
        try:
            batch.append(pipeline(dict(img_path=str(images.root / path))))
        except UnreadableImage as error:
            unreadable.append(path)
            print(f'\nleft out {printable(error)}', file=sys.stderr)
        else:
            paths.append(path)
        if len(batch) == args.batch_size or number == total:
            flush()
            left = (time.time() - started) / number * (total - number)
            print(f'\r{number}/{total} images, {left:.0f} s left ', end='', file=sys.stderr)
    return features, paths, unreadable


@told_in_one_line()
def main() -> None:
    args = parse_args()
    init_default_scope('mmpretrain')
    try:
        encoder = load_encoder(args.checkpoint, args.config).to(args.device)
        images = list_images(args.folder)
        cfg = run_config(args.checkpoint, args.config)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'error: {error}')
    preprocessor = MODELS.build(cfg.data_preprocessor).to(args.device)
    print(images.describe(), file=sys.stderr)
    pipeline = Compose(evaluation_pipeline(image_side(encoder), cfg.get('value_range')))
    features, paths, unreadable = embed(encoder, preprocessor, images, pipeline, args)
    if not features:
        sys.exit(f'error: none of the {len(images.paths)} images in {args.folder!r} could be read')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(args.out, features=np.concatenate(features), paths=np.array(paths))
    print(f'\nwrote {args.out}: {len(paths)} images, {features[0].shape[1]} features each, '
          f'{len(unreadable)} left out')


if __name__ == '__main__':
    main()
