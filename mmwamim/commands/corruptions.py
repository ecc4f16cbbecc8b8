"""Makes a small ImageNet-C out of labelled images.

    mmwamim corruptions IMAGES OUT --per-class 5

IMAGES holds <class>/<name>.*, or is a table, tar shards, a Hugging Face data set or LMDB with
labels; of splits, folders too, that for validation is taken. An image becomes
OUT/<corruption>/<severity>/<class>/<name>.JPEG, the published layout: 15 corruptions at 5
severities, of the centre crop (short edge to 256, crop to 224), with imagecorruptions-imaug. The
random numbers depend on ``--seed`` and the file alone, so a run that is started again goes on where
it was. They are not those of the published set, nor are the scores.
"""
import argparse
import hashlib
import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from PIL import Image

from mmwamim.datasets.listing import list_images, printable
from mmwamim.datasets.loading import UnreadableImage
from mmwamim.datasets.pixels import Range, check_range
from mmwamim.datasets.sources import ListedSource, Source, is_images_folder, open_labelled
from mmwamim.datasets.sources.file_names import file_names, parted
from mmwamim.datasets.splits import pretraining_folder, settle_split
from mmwamim.errors import UserError
from mmwamim.evaluation.robustness import CORRUPTIONS, SEVERITIES
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.command_line import short_path
from mmwamim.interface.words import option

from .calls import as_a_call
from .fields import add_columns, check_counts

QUALITY = 85  # of the JPEG files, as in the published set


@dataclass(frozen=True)
class Corrupted:
    """A small ImageNet-C."""

    folder: Path
    images: int
    """In each folder of a corruption and severity."""
    written: int
    """Files that were not there before."""
    unreadable: List[str]
    """What is wrong, one for each image."""


@settles_arguments
def corruptions(images: Union[str, Path], out: Union[str, Path], *,
                per_class: Optional[int] = None, size: int = 224, seed: int = 0,
                value_range: Optional[Sequence[float]] = None, column: Optional[str] = None,
                label_column: Optional[str] = None) -> Corrupted:
    """Writes every labelled image of a place in 15 corruptions and 5 severities.

    Args:
        images: Holds ``<class>/<image>``; or a table, tar shards, a Hugging Face data set or LMDB.
        out: The folder to write, or to go on with.
        per_class: The first so many of a class. Default: all.
        size: Edge of the images in pixels.
        seed: Of the random numbers, with the file's name.
        value_range: Black and white in data deeper than 8 bits.
        column: The column of paths or images, where the data have columns.
        label_column: The column of classes there.

    Returns:
        The folder, the numbers of images and of files written, and the images that cannot be read.

    Raises:
        UserError: imagecorruptions is missing, there are no class folders or labels, two images
            would get the same name, or the folder was begun with other settings.

    Examples:
        >>> mmwamim.corruptions('val', 'val-c').written  # doctest: +SKIP
        3750
    """
    try:
        import imagecorruptions  # noqa: F401
    except ImportError:
        raise UserError("imagecorruptions is missing: pip install 'mmwamim[robustness]'"
                        ) from None
    check_counts(per_class=per_class)
    if size < 32:
        raise UserError(f'{option("size")} must be at least 32, not {size}')
    out, value_range = Path(out).expanduser(), check_range(value_range)
    source, names, rows = find_images(os.path.expanduser(str(images)), per_class, column,
                                      label_column)
    settings = dict(seed=seed, size=size)
    if value_range is not None:
        settings['value_range'] = list(value_range)
    check_settings(out, settings)
    with as_a_call():  # NumPy's generator is seeded for each image
        written, unreadable = make(source, out, names, rows, size, seed, value_range)
    return Corrupted(out, len(rows) - len(unreadable), written, unreadable)


def find_images(root: str, per_class: Optional[int], column: Optional[str] = None,
                label_column: Optional[str] = None) -> Tuple[Source, Sequence[str], List[int]]:
    """The images of a place, ``<class>/<name>`` of each, and the first ``per_class`` of each class.

    Raises:
        UserError: There is none, or two would get the same name.
    """
    if is_images_folder(root):
        if column or label_column:
            raise UserError(f'{printable(root)!r} has no columns')
        if pretraining_folder(root)[1]:  # it holds splits, as ImageNet does
            root = str(settle_split(root, 'val'))
        listing = list_images(root)
        print(listing.describe())
        source: Source = ListedSource(listing.paths, root)
        names = [without_ending(path) for path in listing.paths]
    else:
        source = open_labelled(root, column, label_column)
        print(printable(source.description))
        names = file_names(source, without_ending)
    classes: Dict[str, List[int]] = defaultdict(list)
    elsewhere, seen = 0, {}
    for row, name in enumerate(names):
        if name.count('/') != 1:
            elsewhere += 1
            continue
        other = seen.setdefault(name, row)
        if other != row:
            raise UserError(printable(
                f'{source.key(other)} and {source.key(row)}: two images named '
                f'{name.rpartition("/")[2]} would get the same file'))
        classes[name.partition('/')[0]].append(row)
    if not classes:
        raise UserError(f'{printable(root)!r} has no class folders with images in them')
    if elsewhere:
        print(f'left out {elsewhere} images that do not lie at <class>/<image>')
    return source, names, [row for _, rows in sorted(classes.items()) for row in rows[:per_class]]


def without_ending(name: str) -> str:
    """'a/b' of 'a/b.png'; what is no ending of a picture stays."""
    return parted(name)[0]


def crop_centre(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 (size, size, 3), RGB: the centre of an image, uint8 (H, W, 3), short edge at
    size * 256 / 224."""
    image = Image.fromarray(pixels)
    edge = round(size * 256 / 224)
    scale = edge / min(image.size)
    image = image.resize([max(round(side * scale), edge) for side in image.size], Image.BICUBIC)
    left, top = ((side - size) // 2 for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def corrupt(image: np.ndarray, corruption: str, severity: int, seed: int) -> np.ndarray:
    """uint8 (H, W, 3) of an image of that kind, the same for the same seed."""
    import imagecorruptions
    np.random.seed(seed)  # most corruptions draw from numpy's global generator ...
    own = dict(seed=seed) if corruption in ('impulse_noise', 'glass_blur') else {}  # ... not these
    return imagecorruptions.corrupt(image, severity, corruption, **own)


def file_seed(seed: int, *key) -> int:
    """32 bits that differ from file to file and do not depend on the order of work."""
    text = '/'.join(str(part) for part in (seed, *key))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], 'little')


def check_settings(out: Path, settings: dict) -> None:
    """Notes how OUT is made.

    Raises:
        UserError: It was begun in another way.
    """
    note = out / 'corruptions.json'
    if note.is_file() and json.loads(note.read_text()) != settings:
        raise UserError(f'{note} says that {str(out)!r} was made with other settings: '
                         'give another OUT')
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(settings) + '\n')


def make(source: Source, out: Path, names: Sequence[str], rows: Sequence[int], size: int, seed: int,
         value_range: Range = None) -> Tuple[int, List[str]]:
    """Writes what is missing; returns the number of files written, and what is wrong with the
    images that could not be read."""
    started, printed, written, looked = time.monotonic(), time.monotonic(), 0, 0
    unreadable: Dict[int, str] = {}
    total = len(rows) * len(CORRUPTIONS) * len(SEVERITIES)
    for row in rows:
        clean = None  # read when the first file of the image is missing
        for corruption in CORRUPTIONS:
            for severity in SEVERITIES:
                looked += 1
                target = out / corruption / str(severity) / f'{names[row]}.JPEG'
                if row in unreadable or target.is_file():
                    continue
                try:
                    clean = crop_centre(source.pixels(row, value_range=value_range), size) \
                        if clean is None else clean
                except UnreadableImage as error:
                    unreadable[row] = printable(error)
                    print(f'left out {unreadable[row]}')
                    continue
                key = file_seed(seed, corruption, severity, *names[row].split('/'))
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary = target.with_name(f'{target.name}.tmp')
                Image.fromarray(corrupt(clean, corruption, severity, key)).save(
                    temporary, 'JPEG', quality=QUALITY)
                os.replace(temporary, target)  # an interruption leaves no half of a file
                written += 1
                if time.monotonic() - printed > 5:
                    printed = time.monotonic()
                    left = (total - looked) * (printed - started) / written / 60
                    print(f'{looked} of {total} files, about {left:.1f} min left', flush=True)
    return written, list(unreadable.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('images', metavar='IMAGES',
                        help='folder with <class>/<image>; for ImageNet, its val; or a table, tar '
                        'shards, a Hugging Face data set, LMDB')
    parser.add_argument('out', metavar='OUT', help='folder to write')
    add_columns(parser)
    parser.add_argument('--per-class', type=int, metavar='N', help='take the first N of a class')
    parser.add_argument('--size', type=int, default=224, help='edge of the images in pixels (224)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--value-range', type=float, nargs=2, metavar=('LOW', 'HIGH'),
                        help='black and white in data deeper than 8 bits')


def run(args: argparse.Namespace) -> int:
    made = corruptions(**vars(args))
    print(f'{made.written} files written to {short_path(made.folder)}, {made.images} images in '
          f'each folder, {len(made.unreadable)} unreadable')
    return int(bool(made.unreadable))
