"""Finds the images of a folder that cannot be read, or that show nothing, before a run does.

    mmwamim check FOLDER
    mmwamim check FOLDER --workers 8 --report FILE --value-range LOW HIGH

Every image below the folder is decoded as a run decodes it. Named are those that cannot be read
(exit code 1), and those that are nearly of one colour: the standard deviation of each channel is
below 5 of 255. Results are appended to the report, a line of JSON a file, so an interrupted check
goes on where it stopped; files that have changed since are looked at again.
"""
import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import List, Optional, Sequence, Union

from mmwamim.cores import granted_cores
from mmwamim.datasets.listing import NoImages, list_images, printable
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from mmwamim.datasets.pixels import check_range

NEARLY_CONSTANT = 5.  # standard deviation in grey levels: 12 bits read as 16 have 4.6 at most


def look_at(path: str, value_range) -> dict:
    """One line of the report."""
    status = os.stat(path)
    row = dict(path=path, size=status.st_size, mtime=status.st_mtime_ns, value_range=value_range)
    try:
        pixels = read_rgb(path, value_range=value_range)
    except UnreadableImage as error:
        return dict(row, error=str(error))
    height, width, _ = pixels.shape
    return dict(row, width=width, height=height, spread=round(float(pixels.std((0, 1)).max()), 2))


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


def check(data: Union[str, Path], *, report: Union[str, Path] = 'image_check.jsonl',
          workers: Optional[int] = None,
          value_range: Optional[Sequence[float]] = None) -> Checked:
    """Decodes every image of a folder as a run does.

    Args:
        data: The folder.
        report: File that results are appended to, and taken from.
        workers: Processes. Default: one a core.
        value_range: Black and white in data deeper than 8 bits.

    Raises:
        UserError: There is no such folder, or no image in it.

    Examples:
        >>> mmwamim.commands.check.check('photos').unreadable  # doctest: +SKIP
        []
    """
    report, value_range, images = Path(report), check_range(value_range), list_images(data)
    print(images.describe())
    if not images.paths:
        raise NoImages(f'no image found below {str(data)!r}')
    paths = [str(images.root / path) for path in images.paths]
    rows = known(report)

    def unchanged(path: str) -> bool:
        status, row = os.stat(path), rows.get(path)
        return row is not None and row['size'] == status.st_size and \
            row['mtime'] == status.st_mtime_ns and \
            check_range(row.get('value_range')) == value_range

    todo = [path for path in paths if not unchanged(path)]
    faults = [rows[path] for path in sorted(set(paths) - set(todo)) if fault(rows[path])]
    for row in faults:
        print(printable(fault(row)))
    faults += _look(todo, report, workers or granted_cores(), value_range)
    told = {kind: [printable(fault(row)) for row in faults if ('error' in row) == kind]
            for kind in (True, False)}
    return Checked(len(paths), len(todo), told[True], told[False], report)


def _look(todo: List[str], report: Path, workers: int, value_range) -> List[dict]:
    """Decodes images, writes the report, and returns the rows with faults."""
    faults, started, look = [], time.time(), partial(look_at, value_range=value_range)
    with report.open('a') as lines, ProcessPoolExecutor(workers) as pool:
        for number, row in enumerate(pool.map(look, todo, chunksize=16), start=1):
            lines.write(json.dumps(row) + '\n')
            if fault(row):
                faults.append(row)
                print(f'\r{printable(fault(row))}')
            if number % 100 == 0 or number == len(todo):
                left = (time.time() - started) / number * (len(todo) - number)
                print(f'\r{number}/{len(todo)} images, {left:.0f} s left ', end='',
                      file=sys.stderr, flush=True)
    return faults


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('data', metavar='FOLDER')
    parser.add_argument('--workers', type=int, metavar='N',
                        help='processes (default: one a core)')
    parser.add_argument('--report', type=Path, default=Path('image_check.jsonl'))
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='black and white in data deeper than 8 bits')


def run(args: argparse.Namespace) -> int:
    found = check(**vars(args))
    print(f'\n{found.images} images, {found.looked_at} looked at now, {len(found.unreadable)} '
          f'unreadable, {len(found.of_one_colour)} nearly of one colour; report in {found.report}')
    return int(bool(found.unreadable))
