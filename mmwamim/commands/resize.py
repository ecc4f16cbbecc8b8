"""Re-encodes a data set once to a short side, so that decoding no longer starves the GPU.

    mmwamim resize IMAGENET IMAGENET_256
    mmwamim resize IMAGENET IMAGENET_256 --short 256 --quality 85 --workers 16

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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

from PIL import Image

from mmwamim.cores import granted_cores
from mmwamim.datasets.listing import NoImages, list_images, printable
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from mmwamim.datasets.pixels import Range, check_range, orientation
from mmwamim.errors import UserError

JPEG_ENDINGS = ('.jpg', '.jpeg')
NOTE = '.resize.json'  # behind the name of a folder that was made here, beside it


@dataclass(frozen=True)
class Resized:
    """A folder of re-encoded images."""

    folder: Path
    images: int
    """Of the source, those that could not be read among them."""
    unreadable: List[str]
    """What is wrong, one for each image."""


def resize(source: Union[str, Path], target: Union[str, Path], *, short: int = 256,
           quality: int = 85, workers: Optional[int] = None,
           value_range: Optional[Sequence[float]] = None) -> Resized:
    """Re-encodes every image of a folder as a JPEG of a given short side at most.

    Args:
        source: The folder.
        target: The folder to write, or to go on with.
        short: Short side in pixels; images are never enlarged.
        quality: Of the JPEG files, 1 to 95.
        workers: Processes. Default: one a core.
        value_range: Black and white in data deeper than 8 bits.

    Raises:
        UserError: There is no such folder, or no image in it; two images would get the same name;
            the target was begun with other settings.

    Examples:
        >>> mmwamim.resize('photos', 'photos_256').unreadable  # doctest: +SKIP
        []
    """
    source, target, value_range = Path(source), Path(target), check_range(value_range)
    if not source.is_dir():
        raise NoImages(f'{str(source)!r} is not a folder')
    if source.resolve() == target.resolve():
        raise UserError('the two folders must differ')
    if short < 1 or not 1 <= quality <= 95:
        raise UserError('--short must be at least 1 and --quality from 1 to 95')
    images = find_images(source, target)
    settings = dict(short=short, quality=quality, source=str(source.resolve()))
    if value_range is not None:
        settings['value_range'] = list(value_range)
    check_settings(target, settings)
    work = partial(convert, source=source, target=target, short=short, quality=quality,
                   value_range=value_range)
    unreadable, started = [], time.time()
    with ProcessPoolExecutor(workers or granted_cores()) as pool:
        for number, problem in enumerate(pool.map(work, images, chunksize=16), start=1):
            if problem:
                unreadable.append(printable(problem))
                print(f'\r{unreadable[-1]}')
            if number % 100 == 0 or number == len(images):
                left = (time.time() - started) / number * (len(images) - number)
                print(f'\r{number}/{len(images)} images, {left:.0f} s left ', end='',
                      file=sys.stderr, flush=True)
    return Resized(target, len(images), unreadable)


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


def check_settings(target: Path, settings: dict) -> None:
    """Notes how the target is made.

    Raises:
        UserError: It was begun in another way.
    """
    place = target.resolve()
    note = place.with_name(place.name + NOTE)
    if note.is_file() and json.loads(note.read_text()) != settings:
        raise UserError(f'{note} says that {str(target)!r} was made with other settings, '
                        f'{note.read_text().strip()}: give another folder')
    place.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(settings) + '\n')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', type=Path, metavar='FOLDER')
    parser.add_argument('target', type=Path, metavar='OUT')
    parser.add_argument('--short', type=int, default=256, help='short side in pixels (256)')
    parser.add_argument('--quality', type=int, default=85, help='of the JPEG files, 1 to 95 (85)')
    parser.add_argument('--workers', type=int, metavar='N', help='processes (default: one a core)')
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='black and white in data deeper than 8 bits')


def run(args: argparse.Namespace) -> int:
    made = resize(**vars(args))
    wrong = len(made.unreadable)
    print(f'\n{made.images - wrong} of {made.images} images in {made.folder}, {wrong} unreadable')
    return int(bool(wrong))
