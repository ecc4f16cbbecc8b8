"""A validation split of our own where a data set has none: a share of each class, the same always.
"""
import os
from hashlib import blake2b
from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Sequence, Union

import numpy as np

from mmwamim.errors import UserError

from .listing import NoImages, is_folder, is_system_folder, list_images, printable
from .sources import kind_of_place, parts_of, places_of_splits
from .splits import SPLITS, find_split

SHARE = 0.2  # a fifth, as in five-fold cross-validation
PARTS = ('rest', 'held_out')


def rows_of(labels: Sequence[int], keys: Iterable[str], share: float, part: str) -> np.ndarray:
    """The images of one of the two parts of a data set.

    Of each class the share whose names have the lowest hashes is held out: at least one image, and
    never all of them. So the parts are the same on every machine, in every process and in a run
    that goes on, wherever the data set lies, and images that come later move few of the others.

    Args:
        labels: A class each, int64 (N, ).
        keys: A name each, such as ``cat/1.jpg`` or ``train-003.tar/000123.jpg``.
        share: To be held out of each class, between 0 and 1.
        part: 'rest' or 'held_out'.

    Returns:
        int64, ascending: places in ``keys``.

    Raises:
        UserError: ``share`` or ``part`` is none, or no class has two images.

    Examples:
        >>> keys = [f'cat/{number}.jpg' for number in range(10)]
        >>> held_out, rest = (rows_of([0] * 10, keys, 0.2, part) for part in ('held_out', 'rest'))
        >>> len(held_out), sorted([*held_out, *rest]) == list(range(10))
        (2, True)
    """
    if part not in PARTS:
        raise UserError(f'takes must be one of {", ".join(PARTS)}, not {part!r}')
    if not isinstance(share, (int, float)) or not 0 < share < 1:
        raise UserError(f'held_out must be a share between 0 and 1, not {share!r}')
    labels = np.asarray(labels, dtype=np.int64)
    hashes = np.array([int.from_bytes(blake2b(os.fsencode(key), digest_size=8).digest(), 'big')
                       for key in keys], dtype=np.uint64)
    order = np.lexsort((hashes, labels))  # class by class, each by hash
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    counts = np.diff(starts, append=len(order))
    chosen: List[np.ndarray] = []
    for start, count in zip(starts, counts):
        number = min(max(round(count * share), 1), count - 1)
        chosen.append(order[start:start + number] if part == 'held_out'
                      else order[start + number:start + count])
    rows = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
    if not len(rows):
        raise UserError('no class has two images, so that none can be held out to validate with')
    return rows


def without_validation(root: Union[str, Path]) -> Optional[str]:
    """Whether a place has labelled images to train on but none to validate with.

    Args:
        root: The data set, wherever it lies.

    Returns:
        What holds the classes: a split such as 'train', or '' for the root itself. None where there
        is a split to validate with, or no class.

    Raises:
        UserError: Beside the classes is a folder that may be a class or a split without labels.
    """
    root = Path(root).expanduser() if os.path.isdir(os.path.expanduser(root)) else root
    try:
        kind = kind_of_place(str(root))
    except NoImages:
        return None
    if kind != 'folder':
        return _without_validation(str(root))
    train, val = find_split(root, 'train'), find_split(root, 'val')
    files_alone = train is None or kind_of_place(str(train)) != 'folder'
    if files_alone and places_of_splits(str(root)) and not _has_classes(root):
        return _without_validation(str(root))
    if val is not None and _has_classes(val):
        return None
    if train is not None and _has_classes(train):
        return os.path.relpath(train, root)
    if not _has_classes(root):
        return None
    if val is not None and any(_folders(root, but=val.name)):
        raise UserError(f'{printable(root)!r} has folders of classes, and beside them '
                        f'{val.name!r}, which may be a class or a split without labels: put the '
                        f'classes into {printable(root / "train")!r}')
    return ''


def _without_validation(root: str) -> Optional[str]:
    """The same of a place that is no folder of images."""
    parts = parts_of(root)
    if len(parts) == 1 and parts[0].where == root:
        return ''
    names = [part.name.lower() for part in parts] if len(parts) > 1 \
        else list(places_of_splits(root).values())
    if any(name in SPLITS[kind] for name in names for kind in ('val', 'test')):
        return None
    return next((name for name in names if name in SPLITS['train']), None)


def _folders(folder: Path, but: str = '') -> Iterator[str]:
    return (entry.path for entry in os.scandir(folder)
            if is_folder(entry) and entry.name != but and not is_system_folder(entry.name))


def _has_classes(folder: Path) -> bool:
    """Whether there is a folder with images in it."""
    return any(len(list_images(path).paths) for path in _folders(folder))


def describe(root: Union[str, Path], prefix: str, share: float = SHARE) -> str:
    """One line that says why a split was made, and how."""
    names = ', '.join((*SPLITS['val'], SPLITS['test'][0]))
    of = printable(os.path.join(root, prefix)).rstrip('/')
    return (f'{printable(root)} has no labelled split to validate with (none of {names}): '
            f'{share:.0%} of each class of {of} are held out, chosen by their names, always the '
            'same ones; no file is copied')
