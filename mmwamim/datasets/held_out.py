"""A validation split of our own where a data set has none: a share of each class, the same always.
"""
import os
from hashlib import blake2b
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Union

import numpy as np

from mmwamim.errors import UserError

from .listing import is_folder, is_system_folder, list_images, printable
from .sources import is_other
from .splits import SPLITS, find_split

SHARE = 0.2  # a fifth, as in five-fold cross-validation
PARTS = ('rest', 'held_out')


def rows_of(labels: Sequence[int], keys: Sequence[str], share: float, part: str) -> np.ndarray:
    """The images of one of the two parts of a data set.

    Of each class the share whose names have the lowest hashes is held out: at least one image, and
    never all of them. So the parts are the same on every machine, in every process and in a run
    that goes on, wherever the data set lies, and images that come later move few of the others.

    Args:
        labels: A class each, int64 (N, ).
        keys: A name each, such as ``cat/1.jpg``.
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
    """Whether a folder has labelled images to train on but none to validate with.

    Args:
        root: The data set.

    Returns:
        What holds the classes: a folder in ``root`` such as 'train', or '' for the root itself.
        None where there is a split to validate with, or no class.

    Raises:
        UserError: Beside the classes is a folder that may be a class or a split without labels.
    """
    root = Path(root).expanduser()
    if not root.is_dir() or is_other(str(root), 'val'):
        return None
    train, val = find_split(root, 'train'), find_split(root, 'val')
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


def _folders(folder: Path, but: str = '') -> Iterator[str]:
    return (entry.path for entry in os.scandir(folder)
            if is_folder(entry) and entry.name != but and not is_system_folder(entry.name))


def _has_classes(folder: Path) -> bool:
    """Whether there is a folder with images in it."""
    return any(len(list_images(path).paths) for path in _folders(folder))


def describe(root: Union[str, Path], prefix: str, share: float = SHARE) -> str:
    """One line that says why a split was made, and how."""
    names = ', '.join((*SPLITS['val'], SPLITS['test'][0]))
    return (f'{printable(root)} has no labelled split to validate with (none of {names}): '
            f'{share:.0%} of each class of {printable(Path(root, prefix))} are held out, chosen by '
            'their names, always the same ones; no file is copied')
