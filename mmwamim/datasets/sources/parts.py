"""All images of a place, part by part: the splits that it has."""
import glob
import os
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from mmwamim.errors import UserError

from ..listing import NoImages, list_images, printable, readable_endings, shortened
from ..paths import PackedPaths
from ..splits import SPLITS, find_split
from . import huggingface, table
from .base import JoinedSource, Source
from .labels import NoLabels
from .listed import ListedSource
from .opening import DATA_BASES, is_tar, kind_of_place, named_split, open_kind
from .shards import find_shards


class Part(NamedTuple):
    """A split of a place, or all of it."""
    where: str
    split: str
    """Of those in it; '': it is of one alone."""
    name: str
    """'train', 'val' and the like; '': the place has no splits."""


def parts_of(root: str) -> List[Part]:
    """The splits of a place that is no folder of images; one without a name if it has none.

    Raises:
        NoImages: There is no such place.
        UserError: Some shards of a folder are of a split, and others of none.
    """
    kind = kind_of_place(root)
    if kind in ('huggingface', 'table'):
        splits = (huggingface if kind == 'huggingface' else table).splits(root)
        parts = [Part(root, split, split) for split in splits]
    else:
        parts = [Part(where, '', split) for where, split in places_of_splits(root).items()]
        if kind == 'shards' and len(parts) > 1:
            _check_shards(root, parts)
    if len(parts) == 1 and kind in ('shards', 'lmdb'):
        parts = []
    return parts if len(parts) > 1 else [(*parts, Part(root, '', ''))[0]._replace(name='')]


def places_of_splits(root: str) -> Dict[str, str]:
    """Files, shards, or folders that are no folders of files, of each split, with its name."""
    found: Dict[str, str] = {}
    for split in SPLITS if os.path.isdir(root) else ():
        where, folder = named_split(root, split), find_split(root, split)
        if not where and folder is not None and kind_of_place(str(folder)) != 'folder':
            where = str(folder)
        if where:
            found.setdefault(where, split)  # that of a test will do to validate with
    return found


def _check_shards(root: str, parts: Sequence[Part]) -> None:
    here = {shard for part in parts for shard in glob.glob(part.where)}
    left = [os.path.basename(shard) for shard in find_shards(root) if shard not in here]
    if left and any(is_tar(shard) for shard in here):  # beside tables shards do not count
        raise UserError(f'{printable(root)!r} has shards of the splits '
                        f'{", ".join(part.name for part in parts)}, and others that are of none: '
                        f'{shortened(left)}')


def is_images_folder(root: str) -> bool:
    """Whether a place is a folder with image files in it, nested or not, or with nothing at all.

    Raises:
        NoImages: There is no such place.
    """
    if kind_of_place(root) != 'folder':
        return False
    return len(list_images(root).paths) > 0 or not places_of_splits(root)


def open_part(part: Part, column: Optional[str] = None, label_column: Optional[str] = None
              ) -> Source:
    """Its images, with labels where there are any.

    Raises:
        NoImages: There are no images.
        UserError: Some labels are missing, a library is, or there are no such columns.
    """
    try:
        return open_kind(part.where, part.split, True, None, None, column, label_column)
    except NoLabels:
        if label_column:
            raise
        return open_kind(part.where, part.split, False, None, None, column)


def open_all(root: str, endings: Optional[Sequence[str]] = None, column: Optional[str] = None
             ) -> Source:
    """Every image of a place, of all splits, without labels: what tools look at.

    Args:
        root: A single picture, or what ``--data`` of training takes.
        endings, column: As of :func:`mmwamim.datasets.sources.open_source`.

    Raises:
        NoImages: There is no such place or image.
        UserError: As of :func:`mmwamim.datasets.sources.open_source`.
    """
    root = os.path.expanduser(root)
    holds_many = root.lower().endswith((*table.ENDINGS, *DATA_BASES)) or is_tar(root)
    if os.path.isfile(root) and not holds_many:
        return ListedSource(PackedPaths.from_strings([root]), '', description=root)
    kind = kind_of_place(root)
    parts = [(root, table.ALL if kind == 'table' else '')]
    if kind == 'huggingface':
        parts = [(root, split) for split in huggingface.splits(root)]
    elif kind == 'folder':
        found = list_images(root, endings or readable_endings())
        named = places_of_splits(root) if not len(found.paths) else {}
        parts = [(where, table.ALL if kind_of_place(where) == 'table' else '')
                 for where in named] or parts
    sources = [open_kind(where, split, False, None, endings, column) for where, split in parts]
    if len(sources) == 1:
        return sources[0]
    return JoinedSource(sources, [os.path.basename(where) if kind == 'folder' else split
                                  for where, split in parts])


def open_labelled(root: str, column: Optional[str] = None, label_column: Optional[str] = None
                  ) -> Source:
    """The images that a place has to validate with, or all where it has no splits, with labels.

    Raises:
        NoImages: There is no such place or image, or none to validate with.
        UserError: As of :func:`open_part`; there are no labels.
    """
    parts = parts_of(root)
    chosen = parts[0]
    if len(parts) > 1:
        order: Tuple[str, ...] = (*SPLITS['val'], *SPLITS['test'])
        usable = [part for name in order for part in parts if part.name.lower() == name]
        if not usable:
            raise NoImages(f'{printable(root)!r} has no split to validate with: there are '
                           f'{shortened([part.name for part in parts])}')
        chosen = usable[0]
    return open_kind(chosen.where, chosen.split, True, None, None, column, label_column)
