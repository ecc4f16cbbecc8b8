"""Finds the images that cannot be read, or that show nothing, before a run does.

    mmwamim check FOLDER
    mmwamim check 'shards/train-{000..146}.tar' --workers 8 --report FILE

Every image is decoded as a run decodes it, wherever --data of training takes it from. Named are
those that cannot be read (exit code 1), and those that are nearly of one colour: the standard
deviation of each channel is below 5 of 255. Results are appended to the report, a line of JSON an
image, so an interrupted check goes on where it stopped; files that have changed since are looked at
again. With --channels pictures are read as with `channels` in a config, and none is nearly of one
colour.
"""
import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

from mmwamim.datasets.listing import printable, readable_endings
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.datasets.pixels import check_range
from mmwamim.datasets.sources import Source, open_all
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.command_line import short_path
from mmwamim.interface.progress import Progress
from mmwamim.machine.cores import granted_cores

from .fields import add_columns, check_counts

GIVEN: dict = {}  # of a worker
NEARLY_CONSTANT = 5.  # standard deviation in grey levels: 12 bits read as 16 have 4.6 at most


def state_of(source: Source, index: int) -> Tuple[int, int]:
    """Size and time of the file that holds an image."""
    try:
        status = os.stat(source.holder(index))
    except OSError:  # as reading it will tell
        return -1, 0
    return status.st_size, status.st_mtime_ns


def look_at(index: int, source: Source, value_range, channels: Optional[int] = None) -> dict:
    """One line of the report."""
    size, mtime = state_of(source, index)
    row = dict(path=source.key(index), size=size, mtime=mtime, value_range=value_range,
               channels=channels)
    try:
        pixels = source.pixels(index, channels, value_range)
    except UnreadableImage as error:
        return dict(row, error=str(error))
    height, width, _ = pixels.shape
    # Numbers that are not of 8 bits have no scale to call a spread small by.
    spread = float(pixels.std((0, 1)).max()) if channels is None else 255.
    return dict(row, width=width, height=height, spread=round(spread, 2))


def look_at_given(index: int) -> dict:
    """In a worker: the images are handed over once, not with each of them."""
    return look_at(index, **GIVEN)


def fault(row: dict) -> str:
    """What to say about an image; '' if nothing is wrong."""
    if 'error' in row:
        return row['error']
    if row['spread'] < NEARLY_CONSTANT:
        return f'{row["path"]}: nearly of one colour (standard deviation {row["spread"]:g} of 255)'
    return ''


def known(report: Path) -> dict:
    """What an earlier check found, by path; a line that was cut off is left out."""
    rows = {}
    for line in report.read_text().splitlines() if report.is_file() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if 'error' in row or 'spread' in row:  # else it is of an earlier version
            rows[row['path']] = row
    return rows


@dataclass(frozen=True)
class Checked:
    """What was found in a folder."""

    images: int
    looked_at: int
    """Of the images, those that no earlier check has seen as they are now."""
    unreadable: List[str]
    """What is wrong, one for each image."""
    of_one_colour: List[str]
    report: Path


@settles_arguments
def check(data: Union[str, Path], *, report: Union[str, Path] = 'image_check.jsonl',
          workers: Optional[int] = None, value_range: Optional[Sequence[float]] = None,
          channels: Optional[int] = None, column: Optional[str] = None) -> Checked:
    """Decodes every image as a run does.

    Args:
        data: A folder, a table, tar shards, a Hugging Face data set or LMDB.
        report: File that results are appended to, and taken from.
        workers: Processes. Default: one a core.
        value_range: Black and white in data deeper than 8 bits.
        channels: Of the pictures. Default: they are read as RGB.
        column: The column of paths or images, where the data have columns.

    Raises:
        UserError: There is no such place, or no image in it.

    Examples:
        >>> mmwamim.commands.check.check('photos').unreadable  # doctest: +SKIP
        []
    """
    check_counts(workers=workers, channels=channels)
    report, value_range = Path(report), check_range(value_range)
    images = open_all(str(data), (*readable_endings(), '.npy') if channels else None, column)
    print(images.description)
    rows, todo, faults = known(report), [], []
    for index in range(len(images)):
        row = rows.get(images.key(index))
        if row is None or (row['size'], row['mtime']) != state_of(images, index) or \
                row.get('channels') != channels or \
                check_range(row.get('value_range')) != value_range:
            todo.append(index)
        elif fault(row):
            faults.append(row)
            print(printable(fault(row)))
    given = dict(source=images, value_range=value_range, channels=channels)
    faults += _look(todo, report, workers or granted_cores(), given)
    told = {kind: [printable(fault(row)) for row in faults if ('error' in row) == kind]
            for kind in (True, False)}
    return Checked(len(images), len(todo), told[True], told[False], report)


def _look(todo: List[int], report: Path, workers: int, given: dict) -> List[dict]:
    """Decodes images, writes the report, and returns the rows with faults."""
    faults, told = [], Progress(len(todo), 'images')
    with report.open('a') as lines, \
            ProcessPoolExecutor(workers, initializer=partial(GIVEN.update, given)) as pool:
        for number, row in enumerate(pool.map(look_at_given, todo, chunksize=16), start=1):
            lines.write(json.dumps(row) + '\n')
            if fault(row):
                faults.append(row)
                told.clear()
                print(printable(fault(row)))
            if number % 100 == 0 or number == len(todo):
                told(number)
    return faults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('data', metavar='FOLDER', help='images, nested or not; or a table, tar '
                        'shards, a Hugging Face data set, LMDB')
    add_columns(parser, labels=False)
    parser.add_argument('--channels', type=int, metavar='N', help='of the pictures, as in a config '
                        '(default: they are read as RGB)')
    parser.add_argument('--workers', type=int, metavar='N',
                        help='processes (default: one a core)')
    parser.add_argument('--report', type=Path, default=Path('image_check.jsonl'))
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='black and white in data deeper than 8 bits')


def run(args: argparse.Namespace) -> int:
    found = check(**vars(args))
    print(f'\n{found.images} images, {found.looked_at} looked at now, {len(found.unreadable)} '
          f'unreadable, {len(found.of_one_colour)} nearly of one colour; report in '
          f'{short_path(found.report)}')
    return int(bool(found.unreadable))
