"""Re-encodes a data set once to a short side, so that decoding no longer starves the GPU.

    python tools/data/resize.py IMAGENET IMAGENET_256 [--short 256] [--quality 85] [--workers 16]

Every image below the folder becomes a JPEG at the same place below the other one; what is not
called .jpg or .jpeg gets .jpg added to its name. Images are never enlarged, and a JPEG that is
small enough and upright is copied as it is: nothing is encoded twice. Each result is read back
before it takes its name, and what is there already is left alone, so the same line goes on where
it was interrupted; OUT.resize.json, beside the new folder, notes the settings, and other ones need
another folder. What cannot be read is named and left out. The first lines say what was found.
"""
import argparse
import json
import os
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import List, Optional, Tuple

from PIL import Image

from mmwamim.cores import granted_cores
from mmwamim.datasets.listing import NoImages, list_images, printable
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from mmwamim.datasets.pixels import Range, check_range, orientation
from mmwamim.errors import UserError, told_in_one_line

JPEG_ENDINGS = ('.jpg', '.jpeg')
NOTE = '.resize.json'  # behind the name of a folder that was made here, beside it


def target_name(relative: Path) -> Path:
    """Where an image goes below the new folder."""
    if relative.suffix.lower() in JPEG_ENDINGS:
        return relative
    return relative.with_name(relative.name + '.jpg')


def target_size(width: int, height: int, short: int) -> Tuple[int, int]:
    """Width and height after the short side became ``short``, if it was longer."""
    scale = min(1., short / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def is_done(path: Path, size: Tuple[int, int]) -> bool:
    """Whether a readable image of that target size is a plain, upright JPEG of it already."""
    with Image.open(path) as image:
        return (image.format == 'JPEG' and path.suffix.lower() in JPEG_ENDINGS
                and image.mode in ('RGB', 'L') and image.size == size and orientation(image) == 1)


def convert(relative: Path, source: Path, target: Path, short: int, quality: int,
            value_range: Range = None) -> Optional[str]:
    """Re-encodes one image; returns what is wrong with it, or None."""
    place = target / target_name(relative)
    if place.is_file():
        return None  # it got its name when it was complete
    try:
        image = Image.fromarray(read_rgb(source / relative, value_range=value_range))
    except UnreadableImage as error:
        return str(error)
    size = target_size(*image.size, short)
    if size != image.size:
        image = image.resize(size, Image.BICUBIC)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f'.{place.name}.{os.getpid()}')
    try:
        if is_done(source / relative, size):
            shutil.copyfile(source / relative, temporary)
        else:
            image.save(temporary, 'JPEG', quality=quality)
        if read_rgb(temporary).shape != (size[1], size[0], 3):
            raise UnreadableImage(f'{temporary}: not the size that was written')
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return None


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Re-encode a data set to a short side')
    parser.add_argument('source', type=Path)
    parser.add_argument('target', type=Path)
    parser.add_argument('--short', type=int, default=256, help='short side in pixels')
    parser.add_argument('--quality', type=int, default=85, help='of the JPEG files, 1 to 95')
    parser.add_argument('--workers', type=int, default=granted_cores())
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='black and white in data deeper than 8 bits')
    args = parser.parse_args()
    if not args.source.is_dir():
        raise NoImages(f'{str(args.source)!r} is not a folder')
    if args.source.resolve() == args.target.resolve():
        raise UserError('the two folders must differ')
    if args.short < 1 or not 1 <= args.quality <= 95:
        raise UserError('--short must be at least 1 and --quality from 1 to 95')
    args.value_range = check_range(args.value_range)
    return args


def find_images(source: Path, target: Path) -> List[Path]:
    """The images below a folder, relative to it, without what earlier runs wrote.

    Raises:
        UserError: There is none, or two would get the same name.
    """
    earlier = [note.with_name(note.name.removesuffix(NOTE)) for note in source.glob(f'*{NOTE}')]
    listing = list_images(source, without=[target, *earlier])
    print(listing.describe(), flush=True)
    images, names = [Path(path) for path in listing.paths], {}
    if not images:
        raise NoImages(f'no image below {printable(source)!r}')
    for image in images:
        other = names.setdefault(target_name(image), image)
        if other is not image:
            raise UserError(printable(
                f'{source / other} and {source / image} would get the same name, '
                f'{target_name(image)}: rename one of them'))
    return images


def check_settings(args: argparse.Namespace) -> None:
    """Notes how the target is made.

    Raises:
        UserError: It was begun in another way.
    """
    settings = dict(short=args.short, quality=args.quality, source=str(args.source.resolve()))
    if args.value_range is not None:
        settings['value_range'] = list(args.value_range)
    target = args.target.resolve()
    note = target.with_name(target.name + NOTE)
    if note.is_file() and json.loads(note.read_text()) != settings:
        raise UserError(f'{note} says that {str(args.target)!r} was made with other settings, '
                        f'{note.read_text().strip()}: give another folder')
    target.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(settings) + '\n')


@told_in_one_line()
def main() -> None:
    args = parse_args()
    images = find_images(args.source, args.target)
    check_settings(args)
    work = partial(convert, source=args.source, target=args.target, short=args.short,
                   quality=args.quality, value_range=args.value_range)
    started, wrong = time.time(), 0
    with ProcessPoolExecutor(args.workers) as pool:
        for number, problem in enumerate(pool.map(work, images, chunksize=16), start=1):
            if problem:
                wrong += 1
                print(f'\r{printable(problem)}')
            if number % 100 == 0 or number == len(images):
                left = (time.time() - started) / number * (len(images) - number)
                print(f'\r{number}/{len(images)} images, {left:.0f} s left ', end='',
                      file=sys.stderr, flush=True)
    print(f'\n{len(images) - wrong} of {len(images)} images in {args.target}, {wrong} unreadable')
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
