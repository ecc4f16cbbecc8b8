"""Re-encodes a data set once to a short side, so that decoding no longer starves the GPU.

    python tools/data/resize.py IMAGENET IMAGENET_256 [--short 256] [--quality 85] [--workers 16]

Every image below the folder becomes a JPEG at the same place below the other one; what is not
called .jpg or .jpeg gets .jpg added to its name. Images are never enlarged. Each result is read
back before it takes its name, and what is there already is left alone, so the same line goes on
where it was interrupted. What cannot be read is named and left out.
"""
import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Optional, Tuple

from PIL import Image

from mmwamim.datasets.images import EXTENSIONS
from mmwamim.datasets.loading import UnreadableImage, read_rgb


def target_name(relative: Path) -> Path:
    """Where an image goes below the new folder."""
    if relative.suffix.lower() in ('.jpg', '.jpeg'):
        return relative
    return relative.with_name(relative.name + '.jpg')


def target_size(width: int, height: int, short: int) -> Tuple[int, int]:
    """Width and height after the short side became ``short``, if it was longer."""
    scale = min(1., short / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def convert(relative: Path, source: Path, target: Path, short: int, quality: int) -> Optional[str]:
    """Re-encodes one image; returns what is wrong with it, or None."""
    place = target / target_name(relative)
    if place.is_file():
        return None  # it got its name when it was complete
    try:
        image = Image.fromarray(read_rgb(source / relative))
    except UnreadableImage as error:
        return str(error)
    size = target_size(*image.size, short)
    if size != image.size:
        image = image.resize(size, Image.BICUBIC)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f'.{place.name}.{os.getpid()}')
    try:
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
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    args = parser.parse_args()
    if not args.source.is_dir():
        sys.exit(f'error: {str(args.source)!r} is not a folder')
    if args.source.resolve() == args.target.resolve():
        sys.exit('error: the two folders must differ')
    if args.short < 1 or not 1 <= args.quality <= 95:
        sys.exit('error: --short must be at least 1 and --quality from 1 to 95')
    return args


def main() -> None:
    args = parse_args()
    images = [path.relative_to(args.source) for path in sorted(args.source.rglob('*'))
              if path.suffix.lower() in EXTENSIONS and path.is_file()]
    names = {target_name(image) for image in images}
    if not images:
        sys.exit(f'error: no image below {str(args.source)!r}')
    if len(names) < len(images):
        sys.exit('error: two images would get the same name')
    work = partial(convert, source=args.source, target=args.target, short=args.short,
                   quality=args.quality)
    started, wrong = time.time(), 0
    with ProcessPoolExecutor(args.workers) as pool:
        for number, problem in enumerate(pool.map(work, images, chunksize=16), start=1):
            if problem:
                wrong += 1
                print(f'\r{problem}')
            if number % 100 == 0 or number == len(images):
                left = (time.time() - started) / number * (len(images) - number)
                print(f'\r{number}/{len(images)} images, {left:.0f} s left ', end='',
                      file=sys.stderr, flush=True)
    print(f'\n{len(images) - wrong} of {len(images)} images in {args.target}, {wrong} unreadable')
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
