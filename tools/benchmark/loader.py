"""Images a second that one core decodes, crops and packs, on your own folder.

    python tools/benchmark/loader.py FOLDER
    python tools/benchmark/loader.py IMAGENET_256 --images 2000

Every path is a pre-training pipeline behind our data set, run in this one process with one
thread, in turn, after a warm-up; so the figures are those of one worker. `needs` is what a GPU
that eats so many images a second asks for in cores.
"""
import argparse
import statistics
import sys
import time

import cv2
import torch
from mmengine.registry import DATASETS, init_default_scope

from mmwamim.datasets.sampling import Draw
from mmwamim.errors import told_in_one_line

CROP = dict(type='mmpretrain.RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0),
            backend='pillow', interpolation='bicubic')
FLIP, PACK = dict(type='mmpretrain.RandomFlip', prob=0.5), dict(type='mmpretrain.PackInputs')
PATHS = {
    "mmpretrain's default": [dict(type='mmpretrain.LoadImageFromFile'), CROP, FLIP, PACK],
    'ours to read, theirs to crop': [dict(type='mmwamim.LoadImage'), CROP, FLIP, PACK],
    'ours': [dict(type='mmwamim.LoadImage'), dict(type='mmwamim.RandomCropToTensor', size=224)],
    'ours, reading alone': [dict(type='mmwamim.LoadImage')],
}


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Images a second of the data path')
    parser.add_argument('folder')
    parser.add_argument('--images', type=int, default=400, help='images a round')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--feeds', type=float, default=10000,
                        help='images a second of the GPU to feed')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    init_default_scope('mmpretrain')
    data = dict(type='mmwamim.UnlabelledImages', data_root=args.folder)
    try:
        sets = {name: DATASETS.build(dict(data, pipeline=pipeline))
                for name, pipeline in PATHS.items()}
    except FileNotFoundError as error:
        sys.exit(f'error: {error}')
    total = len(next(iter(sets.values())))
    step = max(1, total // args.images)
    rates = {name: [] for name in sets}
    for turn in range(args.rounds + 1):
        for name, images in sets.items():
            started = time.perf_counter()
            for i in range(args.images):
                images[Draw(0, turn, i * step % total)]
            if turn:
                rates[name].append(args.images / (time.perf_counter() - started))
        print(f'\rround {turn}/{args.rounds} ', end='', file=sys.stderr, flush=True)
    print(file=sys.stderr)
    base = statistics.median(rates["mmpretrain's default"])
    print(f'{args.folder}: {total} images, one core, median of {args.rounds} rounds of '
          f'{args.images} images')
    for name, values in rates.items():
        rate = statistics.median(values)
        print(f'  {name:<30} {rate:7.0f} images/s ({min(values):.0f} to {max(values):.0f}), '
              f'{rate / base:.2f} x the default, needs {args.feeds / rate:.1f} cores for '
              f'{args.feeds:.0f} images/s')


if __name__ == '__main__':
    main()
