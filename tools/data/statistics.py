"""Mean and deviation of each channel of your images, as lines of a config.

    python tools/data/statistics.py DATA [--channels 12] [--images 20000] [--workers 8]

DATA is whatever `--data` of training takes. Values are those that a run normalises: 0 to 255 in
RGB, and with `--channels` as LoadChannels reads them (`--value-range` as in a config). Results are
appended to the report, a line a block of images, so that an interrupted run goes on; images that
cannot be read are named and left out.
"""
import argparse
import hashlib
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Iterable, List, Optional, Sequence, Tuple

import numpy as np

from mmwamim.cores import granted_cores
from mmwamim.datasets.channels import read_channels
from mmwamim.datasets.listing import printable, readable_endings
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from mmwamim.datasets.pixels import check_range
from mmwamim.datasets.sources import Source, open_source
from mmwamim.errors import UserError, told_in_one_line

BLOCK = 32  # images
GIVEN: dict = {}  # of a worker


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


def measure_given(rows: Sequence[int]) -> dict:
    """In a worker: the images are handed over once, not with every block."""
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


def config_lines(blocks: Iterable[dict], channels: Optional[int]) -> str:
    """What goes into a config.

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
    flat = [channel for channel, value in enumerate(std) if not value]
    if flat:
        print(f'channels {flat} have one value alone: leave them out, or set their std to 1',
              file=sys.stderr)
    head = '' if channels is None else f'channels = {channels}\n'
    return f'{head}data_preprocessor = dict(mean={mean}, std={std}, to_rgb={channels is None})'


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Mean and deviation of images')
    parser.add_argument('data', help='a folder, table, shards or data base')
    parser.add_argument('--channels', type=int, help='channels of an image (default: RGB)')
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'))
    parser.add_argument('--column', help='of paths or images, in a table')
    parser.add_argument('--images', type=int, help='at most as many, spread evenly')
    parser.add_argument('--workers', type=int, default=granted_cores())
    parser.add_argument('--report', type=Path, default=Path('statistics.jsonl'))
    args = parser.parse_args()
    value_range = check_range(args.value_range)
    endings = None if args.channels is None else [*readable_endings(), '.npy']
    source = open_source(args.data, endings=endings, column=args.column)
    print(source.description, file=sys.stderr)
    count = min(args.images or len(source), len(source))
    rows = [place * len(source) // count for place in range(count)]
    what = [args.channels, value_range, count, len(source), source.key(0), source.key(rows[-1])]
    name = hashlib.blake2b(repr(what).encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()
    done = known(args.report, name)
    todo: List[List[int]] = [rows[i:i + BLOCK] for i in range(0, count, BLOCK)
                             if rows[i] not in done]
    started = time.time()
    begin = partial(GIVEN.update, source=source, channels=args.channels, value_range=value_range)
    with args.report.open('a') as report, \
            ProcessPoolExecutor(args.workers, initializer=begin) as pool:
        for number, block in enumerate(pool.map(measure_given, todo), start=1):
            report.write(json.dumps(dict(block, of=name)) + '\n')
            report.flush()
            done[block['first']] = block
            left = (time.time() - started) / number * (len(todo) - number)
            print(f'\r{number}/{len(todo)} blocks of {BLOCK} images, {left:.0f} s left ', end='',
                  file=sys.stderr, flush=True)
    faults = [fault for block in done.values() for fault in block['faults']]
    for fault in faults:
        print(f'\nunreadable: {printable(fault)}', end='', file=sys.stderr)
    print(f'\n{count - len(faults)} images', file=sys.stderr)
    print(config_lines(done.values(), args.channels))


if __name__ == '__main__':
    main()
