"""Annotation files in COCO's format: what is in them, and whether it can be trained on."""
import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

from PIL import Image

from mmwamim.errors import UserError

from .listing import NoImages, counts, printable, shortened
from .loading import UnreadableImage
from .pixels import orientation

FIELDS = dict(images=('id', 'file_name', 'width', 'height'), categories=('id', 'name'),
              annotations=('id', 'image_id', 'category_id', 'bbox', 'area'))
LOOKED_AT = 50  # photographs whose size is compared with their annotation before a run


def read_coco(path: Union[str, Path], unlabelled: bool = False) -> dict:
    """An annotation file.

    Args:
        path: The file.
        unlabelled: Whether the list of annotations may be missing, as in files for a server that
            keeps them.

    Returns:
        A dict with the lists ``images``, ``annotations`` and ``categories``, of which every entry
        has the fields that a detector needs.

    Raises:
        NoImages: There is no such file; the message lists what lies beside it.
        UserError: It is none, or an entry lacks a field or has the id of another.
    """
    path = Path(path)
    if not path.is_file():
        there = sorted(p.name for p in path.parent.glob('*.json')) if path.parent.is_dir() else []
        raise NoImages(f'there is no annotation file {printable(path)!r}; beside it: '
                       f'{shortened(there)}. Name it with --cfg-options '
                       'train_dataloader.dataset.ann_file=FILE, relative to the data set')
    try:
        coco = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f'{printable(path)} is no JSON file: {error}') from None
    if unlabelled and isinstance(coco, dict):
        coco.setdefault('annotations', [])
    for part, fields in FIELDS.items():
        if not isinstance(coco, dict) or not isinstance(coco.get(part), list):
            raise UserError(f'{printable(path)} has no list {part!r}: expected an annotation file '
                            'in the format of COCO')
        for entry in coco[part]:
            missing = _missing(entry, fields)
            if missing:
                raise UserError(f'{printable(path)}: an entry of {part!r} has no {missing!r}: '
                                f'{str(entry)[:200]}')
        twice = _twice(entry['id'] for entry in coco[part])
        if twice:
            raise UserError(f'{printable(path)}: {len(twice)} ids are there twice in {part!r}, '
                            f'such as {twice[0]!r}')
    return coco


def category_names(path: Union[str, Path], coco: dict) -> Tuple[str, ...]:
    """Names of the categories, in the order of the file.

    Raises:
        UserError: There is none, or one name twice.
    """
    names = [category['name'] for category in coco['categories']]
    twice = _twice(names)
    if twice or not names:
        raise UserError(f'{printable(path)} names ' + (f'{shortened(twice)} twice' if twice else
                                                       'no category') + ' in \'categories\'')
    return tuple(names)


def category_ids(categories: Iterable[dict], classes: Sequence[str]) -> List[int]:
    """The id of each class, by its name; below all others where a class has no category.

    mmdet counts labels in the order of the file, so that a validation file in another order, or
    without a category, would shift them.
    """
    by_name = {category['name']: category['id'] for category in categories}
    lowest = min([0, *(number for number in by_name.values() if isinstance(number, int))])
    return [by_name.get(name, lowest - 1 - place) for place, name in enumerate(classes)]


def check_classes(path: Union[str, Path], names: Sequence[str], classes: Sequence[str],
                  whose: str) -> None:
    """Raises UserError with both lists if a category is none of ``classes``."""
    unknown = [name for name in names if name not in set(classes)]
    if unknown:
        raise UserError(f'{printable(path)} has {len(unknown)} categories that {whose} does not '
                        f'have: {shortened(unknown)}. Its categories: {shortened(names)}; those '
                        f'of {whose}: {shortened(classes)}')


def check_coco(path: Union[str, Path], coco: dict, folder: Union[str, Path],
               masks: bool = False) -> str:
    """Looks for what would train on less than the file seems to hold.

    Args:
        path: The file, for messages.
        coco: As :func:`read_coco` returns it.
        folder: Where its images lie.
        masks: Whether outlines are needed.

    Returns:
        What was found and what will be left out, for the log.

    Raises:
        NoImages: Images are missing on disk.
        UserError: Annotations of unknown images or categories, or without the outlines that are
            needed; or a photograph has another size than its annotation says.
    """
    images: Dict[int, dict] = {image['id']: image for image in coco['images']}
    for field, known in (('image_id', set(images)),
                         ('category_id', {entry['id'] for entry in coco['categories']})):
        lost = [entry for entry in coco['annotations'] if entry[field] not in known]
        if lost:
            raise UserError(f'{printable(path)}: {len(lost)} of {len(coco["annotations"])} '
                            f'annotations have an unknown {field}, such as {lost[0][field]!r}')
    bare = [entry for entry in coco['annotations'] if not entry.get('segmentation')]
    if masks and bare:
        raise UserError(f'{printable(path)}: {len(bare)} of {len(coco["annotations"])} annotations '
                        'have no segmentation, but the config trains masks')
    broken = [entry['id'] for entry in coco['annotations'] if not _is_outline(
        entry.get('segmentation'))] if masks else []
    if broken:
        raise UserError(f'{printable(path)}: the segmentation of {len(broken)} annotations is '
                        'neither a list of polygons of three points or more nor run lengths '
                        f'(counts and size), such as that of id {broken[0]!r}')
    missing = [image['file_name'] for image in images.values()
               if not os.path.isfile(os.path.join(folder, image['file_name']))]
    if missing:
        raise NoImages(f'{len(missing)} of {len(images)} images of {printable(path)} are not in '
                       f'{printable(folder)}: {shortened(missing, 3)}')
    step = max(len(images) // LOOKED_AT, 1)
    for image in list(images.values())[::step]:
        check_size(os.path.join(folder, image['file_name']), (image['height'], image['width']))
    outside = Counter('boxes without area or outside of their image' for entry
                      in coco['annotations'] if not _is_inside(entry, images[entry['image_id']]))
    used = {entry['image_id'] for entry in coco['annotations']}
    left_out = outside + Counter({'images without annotation': len(set(images) - used)})
    text = (f'{len(images)} images and {len(coco["annotations"])} annotations of '
            f'{len(coco["categories"])} categories in {printable(path)}')
    return f'{text}; without use: {counts(left_out)}' if left_out else text


def check_size(path: str, size: Tuple[int, int]) -> None:
    """Compares the size of a photograph, as it is stored or upright, with its annotation's (H, W).

    Raises:
        UserError: Neither of the two fits.
    """
    try:
        with Image.open(path) as image:
            stored, number = (image.height, image.width), orientation(image)
    except (OSError, UnreadableImage):
        return  # is told, and left out, when it is read
    if tuple(size) != stored and (number < 5 or tuple(size) != stored[::-1]):
        raise UserError(f'{printable(path)} is {stored[1]}x{stored[0]} pixels, but its annotation '
                        f'is of {size[1]}x{size[0]}: boxes and masks would lie elsewhere')


def _missing(entry, fields: Sequence[str]) -> Optional[str]:
    """What an entry lacks, in words; None if it has all fields."""
    if not isinstance(entry, dict):
        return 'fields'
    for field in fields:
        value = entry.get(field)
        if value is None:
            return field
        if field in ('width', 'height', 'area') and not _are_numbers(value):
            return f'{field} that is a number'
        if field == 'bbox' and not (isinstance(value, list) and len(value) == 4
                                    and _are_numbers(*value)):
            return 'bbox of four numbers'
        if field in ('id', 'image_id', 'category_id') and not isinstance(value, (int, str)):
            return f'{field} that is a number or a word'
    return None


def _are_numbers(*values) -> bool:
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)


def _is_outline(outline) -> bool:
    """Whether mmdet makes a mask of it: polygons of which one has three points, or run lengths."""
    if isinstance(outline, dict):
        return isinstance(outline.get('counts'), (list, str)) and bool(outline.get('size'))
    return isinstance(outline, list) and any(
        isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0
        for points in outline)


def _is_inside(annotation: dict, image: dict) -> bool:
    x, y, width, height = annotation['bbox']
    inside = min(x + width, image['width']) > max(x, 0) and \
        min(y + height, image['height']) > max(y, 0)
    return inside and width >= 1 and height >= 1 and annotation['area'] > 0


def _twice(values: Iterable) -> Optional[list]:
    return [value for value, number in Counter(values).items() if number > 1]
