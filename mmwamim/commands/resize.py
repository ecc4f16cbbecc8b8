"""Re-encodes a data set once to a short side, so that decoding no longer starves the GPU.

    mmwamim resize IMAGENET IMAGENET_256
    mmwamim resize IMAGENET IMAGENET_256 --short 256 --quality 85 --workers 16
    mmwamim resize 'shards/train-{000..146}.tar' FOLDER

Every image below the folder becomes a JPEG at the same place below the other one; what is not
called .jpg or .jpeg gets .jpg added to its name. Of a table, tar shards, a Hugging Face data set or
LMDB becomes a folder of classes: OUT/<split>/<class>/<key>.jpg, without what there is none of.
Images are never enlarged, and a JPEG that is small enough and upright is copied as it is: nothing
is encoded twice. Each result is read back before it takes its name, and what is there already is
left alone, so the same line goes on where it was interrupted; OUT.resize.json, beside the new
folder, notes the settings, and other ones need another folder. What cannot be read is named and
left out. The first lines say what was found.
"""
import argparse
import json
import os
import shutil
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

from PIL import Image

from mmwamim.datasets.listing import NoImages, list_images, printable
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from mmwamim.datasets.paths import PackedPaths
from mmwamim.datasets.pixels import File, Range, check_range, opened, orientation
from mmwamim.datasets.sources import ListedSource, Source, is_images_folder, open_part, parts_of
from mmwamim.datasets.sources.file_names import clean, file_names
from mmwamim.errors import UserError
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.command_line import short_path
from mmwamim.interface.progress import Progress
from mmwamim.interface.words import option
from mmwamim.machine.cores import granted_cores

from .fields import add_columns, check_counts

JPEG_ENDINGS = ('.jpg', '.jpeg')
GIVEN: dict = {}  # of a worker
NOTE = '.resize.json'  # behind the name of a folder that was made here, beside it


@dataclass(frozen=True)
class Resized:
    """A folder of re-encoded images."""

    folder: Path
    images: int
    """Of the source, those that could not be read among them."""
    unreadable: List[str]
    """What is wrong, one for each image."""


@settles_arguments
def resize(source: Union[str, Path], target: Union[str, Path], *, short: int = 256,
           quality: int = 85, workers: Optional[int] = None,
           value_range: Optional[Sequence[float]] = None, column: Optional[str] = None,
           label_column: Optional[str] = None) -> Resized:
    """Re-encodes every image of a place as a JPEG of a given short side at most.

    Args:
        source: A folder, a table, tar shards, a Hugging Face data set or LMDB.
        target: The folder to write, or to go on with.
        short: Short side in pixels; images are never enlarged.
        quality: Of the JPEG files, 1 to 95.
        workers: Processes. Default: one a core.
        value_range: Black and white in data deeper than 8 bits.
        column: The column of paths or images, where the data have columns.
        label_column: The column of classes there.

    Returns:
        The folder, the number of images, and those that cannot be read.

    Raises:
        UserError: There is no such place, or no image in it; two images would get the same name;
            the target was begun with other settings.

    Examples:
        >>> mmwamim.resize('photos', 'photos_256').unreadable  # doctest: +SKIP
        []
    """
    check_counts(short=short, workers=workers)
    source, target = os.path.expanduser(str(source)), Path(target).expanduser()
    value_range = check_range(value_range)
    if os.path.exists(source) and Path(source).resolve() == target.resolve():
        raise UserError('the two folders must differ')
    if not 1 <= quality <= 95:
        raise UserError(f'{option("quality")} must be from 1 to 95, not {quality}')
    parts = find_images(source, target, column, label_column)
    settings = dict(short=short, quality=quality, source=str(
        Path(source).resolve()) if os.path.exists(source) else source)
    for name, value in (('value_range', value_range), ('column', column),
                        ('label_column', label_column)):
        if value is not None:
            settings[name] = list(value) if name == 'value_range' else value
    check_settings(target, settings)
    unreadable, done, total = [], 0, sum(len(part) for part, _ in parts)
    told = Progress(total, 'images')
    for part, names in parts:
        begin = partial(GIVEN.update, source=part, target=target, names=names, short=short,
                        quality=quality, value_range=value_range)
        with ProcessPoolExecutor(workers or granted_cores(), initializer=begin) as pool:
            work = pool.map(convert_given, range(len(part)), chunksize=16)
            for problem in work:
                done += 1
                if problem:
                    unreadable.append(printable(problem))
                    told.clear()
                    print(unreadable[-1])
                if done % 100 == 0 or done == total:
                    told(done)
    return Resized(target, total, unreadable)


def target_name(relative: str) -> str:
    """Where an image goes below the new folder."""
    return relative if relative.lower().endswith(JPEG_ENDINGS) else f'{relative}.jpg'


def target_size(width: int, height: int, short: int) -> Tuple[int, int]:
    """Width and height after the short side became ``short``, if it was longer."""
    scale = min(1., short / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def is_done(file: File, size: Tuple[int, int]) -> bool:
    """Whether a readable image of that target size is a plain, upright JPEG of it already."""
    with Image.open(opened(file)) as image:
        return (image.format == 'JPEG' and image.mode in ('RGB', 'L') and image.size == size
                and orientation(image) == 1)


def convert(index: int, source: Source, target: Path, names: Sequence[str], short: int,
            quality: int, value_range: Range = None) -> Optional[str]:
    """Re-encodes one image; returns what is wrong with it, or None."""
    place = target / names[index]
    if place.is_file():
        return None  # it got its name when it was complete
    try:
        data = source.read(index)
        image = Image.fromarray(read_rgb(source.key(index), value_range=value_range, data=data))
    except UnreadableImage as error:
        return str(error)
    size = target_size(*image.size, short)
    if size != image.size:
        image = image.resize(size, Image.BICUBIC)
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f'.{place.name}.{os.getpid()}')
    try:
        if not is_done(source.key(index) if data is None else data, size):
            image.save(temporary, 'JPEG', quality=quality)
        elif data is None:
            shutil.copyfile(source.key(index), temporary)
        else:
            temporary.write_bytes(data)
        if read_rgb(temporary).shape != (size[1], size[0], 3):
            raise UnreadableImage(f'{temporary}: not the size that was written')
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return None


def convert_given(index: int) -> Optional[str]:
    """In a worker, which is handed the images once."""
    return convert(index, **GIVEN)


def find_images(source: str, target: Path, column: Optional[str] = None,
                label_column: Optional[str] = None) -> List[Tuple[Source, Sequence[str]]]:
    """The images of each part of a place, and their names below the target.

    Raises:
        UserError: There is none, or two would get the same name.
    """
    if is_images_folder(source):
        if column or label_column:
            raise UserError(f'{printable(source)!r} has no columns')
        return [_of_folder(Path(source), target)]
    found, parts = [], parts_of(source)
    for part in parts:
        images = open_part(part, column, label_column)
        print(printable(images.description), flush=True)
        top = f'{clean(part.name)}/' if part.name else ''
        found.append((images, PackedPaths.from_strings(
            f'{top}{name}' for name in file_names(images, target_name))))
    return found


def _of_folder(source: Path, target: Path) -> Tuple[Source, Sequence[str]]:
    """All below a folder, without what earlier runs wrote."""
    earlier = [note.with_name(note.name.removesuffix(NOTE)) for note in source.glob(f'*{NOTE}')]
    listing = list_images(source, without=[target, *earlier])
    print(listing.describe(), flush=True)
    if not len(listing.paths):
        raise NoImages(f'no image below {printable(source)!r}')
    names = PackedPaths.from_strings(map(target_name, listing.paths))
    shared = {name for name, count in Counter(names).items() if count > 1}
    if shared:
        twice = next(iter(sorted(shared)))
        one, two = [path for path in listing.paths if target_name(path) == twice][:2]
        raise UserError(printable(f'{source / one} and {source / two} would get the same name, '
                                  f'{twice}: rename one of them'))
    return ListedSource(listing.paths, str(source)), names


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
    parser.add_argument('source', metavar='FOLDER', help='images, nested or not; or a table, tar '
                        'shards, a Hugging Face data set, LMDB')
    add_columns(parser)
    parser.add_argument('target', type=Path, metavar='OUT')
    parser.add_argument('--short', type=int, default=256, help='short side in pixels (256)')
    parser.add_argument('--quality', type=int, default=85, help='of the JPEG files, 1 to 95 (85)')
    parser.add_argument('--workers', type=int, metavar='N', help='processes (default: one a core)')
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='black and white in data deeper than 8 bits')


def run(args: argparse.Namespace) -> int:
    made = resize(**vars(args))
    wrong = len(made.unreadable)
    print(f'\n{made.images - wrong} of {made.images} images in {short_path(made.folder)}, {wrong} '
          'unreadable')
    return int(bool(wrong))
