"""Images a second that one core reads, crops and packs, from wherever your images lie.

    python tools/benchmark/loader.py DATA
    python tools/benchmark/loader.py IMAGENET_256 --images 2000
    python tools/benchmark/loader.py 'shards/train-{000..099}.tar' --paths ours --workers 2

DATA is whatever ``--data`` of training takes. Every path is a pipeline behind our data set, run in
this one process with one thread, in turn, after a warm-up; so the figures are those of one worker.
``needs`` is what a GPU that eats so many images a second asks for in cores. Then a loader with
workers is started: time to its first batch, and the private memory of a worker after each epoch.
"""
import argparse
import multiprocessing
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

import cv2
import torch
from mmengine.registry import DATASETS, DefaultScope
from torch.utils.data import DataLoader, Subset

from mmwamim.datasets.sampling import Draw
from mmwamim.errors import UserError
from mmwamim.interface.progress import Progress

READ, THEIRS = dict(type='mmwamim.LoadImage'), dict(type='mmpretrain.LoadImageFromFile')
CROP = dict(type='mmpretrain.RandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0),
            backend='pillow', interpolation='bicubic')
FLIP, PACK = dict(type='mmpretrain.RandomFlip', prob=0.5), dict(type='mmpretrain.PackInputs')
AUGMENT = dict(policies='timm_increasing', num_policies=2, total_level=10, magnitude_level=9,
               magnitude_std=0.5, hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'))
EDGE, CENTER = dict(scale=256, edge='short', interpolation='bicubic'), dict(
    type='mmpretrain.CenterCrop', crop_size=224)
PATHS = {
    "mmpretrain's default": [THEIRS, CROP, FLIP, PACK],
    'ours to read, theirs to crop': [READ, CROP, FLIP, PACK],
    'ours': [READ, dict(type='mmwamim.RandomCropToTensor', size=224)],
    'ours, reading alone': [READ],
    'fine-tuning, default': [THEIRS, dict(CROP, crop_ratio_range=(0.08, 1.0)), FLIP,
                             dict(AUGMENT, type='mmpretrain.RandAugment'), PACK],
    'fine-tuning, ours': [READ, dict(type='mmwamim.RandomResizedCrop', scale=224), FLIP,
                          dict(AUGMENT, type='mmwamim.RandAugment'), PACK],
    'validation, default': [THEIRS, dict(EDGE, type='mmpretrain.ResizeEdge', backend='pillow'),
                            CENTER, PACK],
    'validation, ours': [READ, dict(EDGE, type='mmwamim.ResizeEdge'), CENTER, PACK],
}


@dataclass(frozen=True)
class Loading:
    """How fast images are read."""

    description: str
    """Of the images, in a line."""
    seconds: float
    """That finding them took."""
    rates: Dict[str, List[float]]
    """Images a second of one core on each path, a round each."""
    first_batch: Optional[float]
    """Seconds from the start of a loader with workers to its first batch."""
    memory: Tuple[float, ...]
    """MiB of a worker's own after each epoch."""


def measure(data: Union[str, Path], *, images: int = 400, rounds: int = 5, workers: int = 1,
            paths: Optional[Sequence[str]] = None, column: Optional[str] = None) -> Loading:
    """Reads images on several paths, in turn, with one thread.

    Args:
        data: A folder, table, shards or data base, as for training.
        images: A round.
        rounds: That count, after one that does not.
        workers: Of the loader that is started afterwards; 0: none.
        paths: Some of ``PATHS``. Default: all that can read the data.
        column: Of paths or images, in a table.

    Raises:
        UserError: The data cannot be opened, or none of the paths reads them.
    """
    with one_thread(), DefaultScope.overwrite_default_scope('mmpretrain'):
        given = dict(type='mmwamim.UnlabelledImages', data_root=str(data), column=column)
        started = time.perf_counter()
        first = DATASETS.build(dict(given, pipeline=PATHS['ours']))
        seconds = time.perf_counter() - started
        description = first.description.splitlines()[0]
        print(f'{description}; found in {seconds:.2f} s')
        in_files = first.data_list.read(0) is None
        names = [name for name in paths or PATHS if in_files or THEIRS not in PATHS[name]]
        if not names:
            raise UserError('mmpretrain reads files alone: name others with --paths')
        rates = measure_paths({name: DATASETS.build(dict(given, pipeline=PATHS[name]))
                               for name in names}, images, rounds)
        batch, memory = measure_loader(first, min(images, len(first)), workers) if workers \
            else (None, ())
    return Loading(description, seconds, rates, batch, memory)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside it torch and OpenCV have one thread, as in a worker."""
    threads, of_opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(of_opencv)


def base_of(name: str) -> str:
    """The path that another one is compared with."""
    kind = name.split(',')[0]
    return f'{kind}, default' if f'{kind}, default' in PATHS else "mmpretrain's default"


def measure_paths(sets: Dict[str, object], images: int, rounds: int) -> Dict[str, List[float]]:
    """Images a second of each path in each round; the paths take turns."""
    total = len(next(iter(sets.values())))
    step = max(1, total // images)
    rates = {name: [] for name in sets}
    told = Progress(rounds + 1, 'rounds')
    for turn in range(rounds + 1):
        for name, one in sets.items():
            started = time.perf_counter()
            for i in range(images):
                one[Draw(0, turn, i * step % total)]
            if turn:
                rates[name].append(images / (time.perf_counter() - started))
        told(turn + 1)
    return rates


def private_memory(process: int) -> float:
    """MiB that a process shares with no other."""
    rows = [line.split() for line in Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()]
    return sum(int(row[1]) for row in rows if row[0].startswith('Private_')) / 1024


def measure_loader(images: object, count: int, workers: int,
                   epochs: int = 3) -> Tuple[float, Tuple[float, ...]]:
    """Time to the first batch, and memory of a worker after each epoch."""
    rows = [place * len(images) // count for place in range(count)]
    started, first, memory = time.perf_counter(), 0., []
    loader = DataLoader(Subset(images, rows), 32, shuffle=True, num_workers=workers,
                        persistent_workers=True, collate_fn=len)
    for _ in range(epochs):
        for _ in loader:
            first = first or time.perf_counter() - started
        memory.append(max(private_memory(child.pid) for child in
                          multiprocessing.active_children()))
    return first, tuple(memory)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('data', help='a folder, table, shards or data base')
    parser.add_argument('--images', type=int, default=400, help='images a round')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--workers', type=int, default=1, help='of the loader; 0: without')
    parser.add_argument('--paths', nargs='+', choices=PATHS, default=list(PATHS), metavar='PATH',
                        help=f'some of {", ".join(map(repr, PATHS))}')
    parser.add_argument('--column', help='of paths or images, in a table')
    parser.add_argument('--feeds', type=float, default=10000,
                        help='images a second of the GPU to feed')


def run(args: argparse.Namespace) -> None:
    given = vars(args).copy()
    feeds = given.pop('feeds')
    found = measure(**given)
    print(f'one core, median of {args.rounds} rounds of {args.images} images')
    for name, values in found.rates.items():
        rate, base = statistics.median(values), found.rates.get(base_of(name))
        ratio = f'{rate / statistics.median(base):.2f} x the default, ' if base else ''
        print(f'  {name:<30} {rate:7.0f} images/s ({min(values):.0f} to {max(values):.0f}), '
              f'{ratio}needs {feeds / rate:.1f} cores for {feeds:.0f} images/s')
    if found.memory:
        print(f'{args.workers} workers: first batch after {found.first_batch:.2f} s; private '
              f'memory of a worker after each of {len(found.memory)} epochs '
              f'{", ".join(f"{value:.0f}" for value in found.memory)} MiB')
