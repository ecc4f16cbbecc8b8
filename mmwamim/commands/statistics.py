"""Mean and deviation of each channel of your images, as lines of a config.

    mmwamim statistics DATA
    mmwamim statistics DATA --channels 12 --images 20000 --workers 8

DATA is whatever ``--data`` of training takes. Values are those that a run normalises: 0 to 255 in
RGB, and with ``--channels`` as LoadChannels reads them (``--value-range`` as in a config). Results
are appended to the report, a line a block of images, so that an interrupted run goes on; images
that cannot be read are named and left out.
"""
import argparse
import hashlib
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np

from mmwamim.datasets.channels import read_channels
from mmwamim.datasets.listing import printable, readable_endings
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from mmwamim.datasets.pixels import check_range
from mmwamim.datasets.sources import Source, open_source
from mmwamim.errors import UserError
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.progress import Progress
from mmwamim.machine.cores import granted_cores

from .fields import check_counts

BLOCK = 32  # images
GIVEN: dict = {}  # of a worker, which takes it once and not with every block


@dataclass(frozen=True)
class Statistics:
    """Of the pixels of a data set."""

    images: int
    """That were measured."""
    mean: List[float]
    """One a channel."""
    std: List[float]
    unreadable: List[str]
    """What is wrong, one for each image."""
    channels: Optional[int]
    """None: RGB."""
    report: Path

    @property
    def config(self) -> str:
        """The lines of a config."""
        head = '' if self.channels is None else f'channels = {self.channels}\n'
        return (f'{head}data_preprocessor = dict(mean={self.mean}, std={self.std}, '
                f'to_rgb={self.channels is None})')


@settles_arguments
def statistics(data: Union[str, Path], *, channels: Optional[int] = None,
               value_range: Optional[Sequence[float]] = None, column: Optional[str] = None,
               images: Optional[int] = None, workers: Optional[int] = None,
               report: Union[str, Path] = 'statistics.jsonl') -> Statistics:
    """Mean and standard deviation of each channel over all pixels.

    Args:
        data: A folder, table, shards or data base, as for training.
        channels: Of an image. Default: RGB.
        value_range: Black and white in data deeper than 8 bits.
        column: Of paths or images, in a table.
        images: At most as many, spread evenly. Default: all.
        workers: Processes. Default: one a core.
        report: File that results are appended to, and taken from.

    Returns:
        ``mean`` and ``std``, a number each channel: from 0 to 255 of 8 bits and with
        ``value_range``, otherwise in the units of the files; the number of images; those that
        cannot be read.

    Raises:
        UserError: The data cannot be opened, or no image of it can be read.

    Examples:
        >>> mmwamim.statistics('photos').mean  # doctest: +SKIP
        [118.2, 112.9, 101.4]
    """
    check_counts(channels=channels, images=images, workers=workers)
    report, value_range = Path(report), check_range(value_range)
    endings = None if channels is None else [*readable_endings(), '.npy']
    source = open_source(str(data), endings=endings, column=column)
    print(source.description, file=sys.stderr)
    count = min(images or len(source), len(source))
    rows = [place * len(source) // count for place in range(count)]
    what = [channels, value_range, count, len(source), source.key(0), source.key(rows[-1])]
    name = hashlib.blake2b(repr(what).encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()
    blocks = known(report, name)
    todo = [rows[i:i + BLOCK] for i in range(0, count, BLOCK) if rows[i] not in blocks]
    begin = partial(take, source=source, channels=channels, value_range=value_range)
    with report.open('a') as lines, \
            ProcessPoolExecutor(workers or granted_cores(), initializer=begin) as pool:
        told = Progress(len(todo), f'blocks of {BLOCK} images')
        for number, block in enumerate(pool.map(measure_given, todo), start=1):
            lines.write(json.dumps(dict(block, of=name)) + '\n')
            lines.flush()
            blocks[block['first']] = block
            told(number)
    faults = [printable(fault) for block in blocks.values() for fault in block['faults']]
    for fault in faults:
        print(f'unreadable: {fault}', file=sys.stderr)
    mean, std = mean_and_deviation(blocks.values())
    return Statistics(count - len(faults), mean, std, faults, channels, report)


def measure(rows: Sequence[int], source: Source, channels: Optional[int], value_range) -> dict:
    """Number of pixels, mean and sum of squared differences from it, a channel each."""
    total, faults = (0, 0., 0.), []
    for row in rows:
        try:
            data = source.read(row)
            pixels = read_rgb(source.key(row), value_range=value_range, data=data) \
                if channels is None else read_channels(source.key(row), channels, value_range, data)
        except UnreadableImage as error:
            faults.append(str(error))
            continue
        values = pixels.reshape(-1, pixels.shape[2]).astype(np.float64)
        mean = values.mean(0)
        total = joined(total, (len(values), mean, ((values - mean)**2).sum(0)))
    count, mean, squares = total
    return dict(first=int(rows[0]), images=len(rows), pixels=count, mean=np.asarray(mean).tolist(),
                squares=np.asarray(squares).tolist(), faults=faults)


def take(**given: object) -> None:
    """In a worker, once: what it measures."""
    GIVEN.update(given)


def measure_given(rows: Sequence[int]) -> dict:
    """In a worker: a block."""
    return measure(rows, **GIVEN)


def joined(a: Tuple, b: Tuple) -> Tuple:
    """Two sets of pixels as one, without a difference of large numbers (Chan et al. 1979)."""
    if not a[0] or not b[0]:
        return a if a[0] else b
    count, apart = a[0] + b[0], np.asarray(b[1]) - np.asarray(a[1])
    return (count, a[1] + apart * (b[0] / count),
            np.asarray(a[2]) + np.asarray(b[2]) + apart**2 * (a[0] * b[0] / count))


def known(report: Path, name: str) -> dict:
    """The blocks of an earlier run of the same images, by their first image."""
    rows = {}
    for line in report.read_text().splitlines() if report.is_file() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # cut off
            continue
        if row.get('of') == name:
            rows[row['first']] = row
    return rows


def mean_and_deviation(blocks: Iterable[dict]) -> Tuple[List[float], List[float]]:
    """Of all blocks, one of each a channel, to six digits.

    Raises:
        UserError: No image could be read.
    """
    total = (0, 0., 0.)
    for block in blocks:
        total = joined(total, (block['pixels'], np.array(block['mean']),
                               np.array(block['squares'])))
    count, mean, squares = total
    if not count:
        raise UserError('no image could be read')
    mean, std = ([float(f'{value:.6g}') for value in values]
                 for values in (mean, np.sqrt(squares / count)))
    return mean, std


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('data', metavar='DATA', help='a folder, table, shards or data base')
    parser.add_argument('--channels', type=int, help='channels of an image (default: RGB)')
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='black and white in data deeper than 8 bits')
    parser.add_argument('--column', help='of paths or images, in a table')
    parser.add_argument('--images', type=int, help='at most as many, spread evenly')
    parser.add_argument('--workers', type=int, metavar='N', help='processes (default: one a core)')
    parser.add_argument('--report', type=Path, default=Path('statistics.jsonl'))


def run(args: argparse.Namespace) -> None:
    found = statistics(**vars(args))
    print(f'\n{found.images} images', file=sys.stderr)
    flat = [channel for channel, value in enumerate(found.std) if not value]
    if flat:
        print(f'channels {flat} have one value alone: leave them out, or set their std to 1',
              file=sys.stderr)
    print(found.config)
