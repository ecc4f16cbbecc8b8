"""Finds the images of a folder that cannot be read, or that show nothing, before a run does.

    python tools/data/check.py FOLDER [--workers 8] [--report FILE] [--value-range LOW HIGH]

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
from functools import partial
from pathlib import Path

from mmwamim.cores import granted_cores
from mmwamim.datasets.listing import NoImages, list_images, printable
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from mmwamim.datasets.pixels import check_range
from mmwamim.errors import told_in_one_line

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


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Find images that cannot be read')
    parser.add_argument('folder')
    parser.add_argument('--workers', type=int, default=granted_cores())
    parser.add_argument('--report', type=Path, default=Path('image_check.jsonl'))
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='black and white in data deeper than 8 bits')
    args = parser.parse_args()
    value_range, images = check_range(args.value_range), list_images(args.folder)
    print(images.describe())
    if not images.paths:
        raise NoImages(f'no image found below {args.folder!r}')
    paths = [str(images.root / path) for path in images.paths]
    rows = known(args.report)

    def unchanged(path: str) -> bool:
        status, row = os.stat(path), rows.get(path)
        return row is not None and row['size'] == status.st_size and \
            row['mtime'] == status.st_mtime_ns and \
            check_range(row.get('value_range')) == value_range

    todo = [path for path in paths if not unchanged(path)]
    faults = [rows[path] for path in sorted(set(paths) - set(todo)) if fault(rows[path])]
    for row in faults:
        print(printable(fault(row)))
    started, look = time.time(), partial(look_at, value_range=value_range)
    with args.report.open('a') as report, ProcessPoolExecutor(args.workers) as pool:
        for number, row in enumerate(pool.map(look, todo, chunksize=16), start=1):
            report.write(json.dumps(row) + '\n')
            if fault(row):
                faults.append(row)
                print(f'\r{printable(fault(row))}')
            if number % 100 == 0 or number == len(todo):
                left = (time.time() - started) / number * (len(todo) - number)
                print(f'\r{number}/{len(todo)} images, {left:.0f} s left ', end='',
                      file=sys.stderr, flush=True)
    unreadable = sum('error' in row for row in faults)
    print(f'\n{len(paths)} images, {len(todo)} looked at now, {unreadable} unreadable, '
          f'{len(faults) - unreadable} nearly of one colour; report in {args.report}')
    sys.exit(bool(unreadable))


if __name__ == '__main__':
    main()
