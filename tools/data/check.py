"""Finds the images of a folder that cannot be read, before a run does.

    python tools/data/check.py FOLDER [--workers 8] [--report FILE]

Every file that pre-training would take is decoded. Results are appended to the report, a line of
JSON a file, so an interrupted check goes on where it stopped; files that have changed since are
looked at again.
"""
import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from mmwamim.datasets import UnlabelledImages
from mmwamim.datasets.loading import UnreadableImage, read_rgb


def look_at(path: str) -> dict:
    """One line of the report."""
    status = os.stat(path)
    row = dict(path=path, size=status.st_size, mtime=status.st_mtime_ns)
    try:
        height, width, _ = read_rgb(path).shape
    except UnreadableImage as error:
        return dict(row, error=str(error))
    return dict(row, width=width, height=height)


def known(report: Path) -> dict:
    """What an earlier check found, by path; a line that was cut off is left out."""
    rows = {}
    for line in report.read_text().splitlines() if report.is_file() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row['path']] = row
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description='Find images that cannot be read')
    parser.add_argument('folder')
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    parser.add_argument('--report', type=Path, default=Path('image_check.jsonl'))
    args = parser.parse_args()
    try:
        images = UnlabelledImages(args.folder)
    except FileNotFoundError as error:
        sys.exit(f'error: {error}')
    paths = [images.get_data_info(index)['img_path'] for index in range(len(images))]
    rows = known(args.report)

    def unchanged(path: str) -> bool:
        status = os.stat(path)
        return path in rows and (rows[path]['size'], rows[path]['mtime']) == (
            status.st_size, status.st_mtime_ns)

    todo = [path for path in paths if not unchanged(path)]
    started, bad = time.time(), [path for path in set(paths) - set(todo) if 'error' in rows[path]]
    with args.report.open('a') as report, ProcessPoolExecutor(args.workers) as pool:
        for number, row in enumerate(pool.map(look_at, todo, chunksize=16), start=1):
            report.write(json.dumps(row) + '\n')
            if 'error' in row:
                bad.append(row['path'])
                print(f'\r{row["error"]}')
            if number % 100 == 0 or number == len(todo):
                left = (time.time() - started) / number * (len(todo) - number)
                print(f'\r{number}/{len(todo)} images, {left:.0f} s left ', end='',
                      file=sys.stderr, flush=True)
    print(f'\n{len(paths)} images, {len(todo)} looked at now, {len(bad)} unreadable; '
          f'report in {args.report}')
    sys.exit(bool(bad))


if __name__ == '__main__':
    main()
