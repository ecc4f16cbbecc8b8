"""Splits of a data set, and the one list of classes that all of them share."""
import os
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from mmwamim.errors import UserError

from .listing import (
    Listing,
    NoImages,
    is_folder,
    is_system_folder,
    list_images,
    printable,
    shortened,
)

SPLITS = dict(
    train=('train', 'training'),
    val=('val', 'valid', 'validation', 'validate', 'dev', 'eval'),
    test=('test', 'testing'))
OTHERWISE = dict(train=('train', ), val=('val', 'test'), test=('test', 'val'))
OUTSIDE = 'outside class folders'


def find_split(root: Union[str, Path], name: str) -> Optional[Path]:
    """The folder of a split: the one of that name, or else of another usual name for it.

    Args:
        root: The data set.
        name: 'train', 'val', 'test' or another name for one, in any case; a path such as
            'images/val' is looked for below ``root``.

    Returns:
        The folder, or None. For 'val' a folder ``test`` will do if there is no other, and the
        other way round.
    """
    asked = Path(root) / name
    if not name or asked.is_dir():
        return asked
    if not asked.parent.is_dir():
        return None
    there = {entry.name.lower(): Path(entry.path)
             for entry in sorted(os.scandir(asked.parent), key=lambda entry: entry.name)
             if is_folder(entry)}
    kind = next((kind for kind, names in SPLITS.items() if asked.name.lower() in names), None)
    others = [other for group in OTHERWISE.get(kind, ()) for other in SPLITS[group]]
    return next((there[other] for other in (asked.name.lower(), *others) if other in there), None)


def settle_split(root: Union[str, Path], name: str) -> Path:
    """As :func:`find_split`.

    Raises:
        NoImages: There is no such folder; the message lists what there is.
    """
    found = find_split(root, name)
    if found is not None:
        return found
    folders = sorted(entry.name for entry in os.scandir(root) if is_folder(entry)
                     and not entry.name.startswith('.')) if Path(root).is_dir() else []
    kind = next((kind for kind, names in SPLITS.items() if name.lower() in names), None)
    usual = [other for group in OTHERWISE.get(kind, ()) for other in SPLITS[group]] or [name]
    raise NoImages(f'{printable(root)!r} must hold {name}/<class>/*, but has no folder for the '
                   f'split {name!r}: expected one of {", ".join(usual)} with class folders in it, '
                   f'found {shortened(folders)}')


def pretraining_folder(root: Union[str, Path]) -> Tuple[Path, str]:
    """The folder to pre-train on, and what to say about it.

    A sub-folder ``train`` stands for the whole where another split lies beside it (ImageNet's
    layout), so that validation images are never trained on. Without one it is a folder like any
    other.
    """
    root = Path(root).expanduser()
    there = {entry.name.lower(): entry.name for entry in os.scandir(root) if is_folder(entry)}
    train = [there[name] for name in SPLITS['train'] if name in there]
    held_out = [there[name] for kind in ('val', 'test') for name in SPLITS[kind] if name in there]
    if not train or not held_out:
        return root, ''
    others = sorted(set(there.values()) - {train[0]})
    return root / train[0], (f'{printable(root / train[0])} alone, since it lies beside the split '
                             f'{held_out[0]!r}; left out: {shortened(others)}')


class LabelledListing(NamedTuple):
    """The images of a split, with the list of classes that their labels count in."""
    images: Listing
    labels: np.ndarray
    """int64 (N,), one for each of ``images.paths``."""
    classes: Tuple[str, ...]


def list_labelled(root: Union[str, Path], classes: Optional[Sequence[str]] = None,
                  endings: Optional[Sequence[str]] = None,
                  whose: str = 'the training set') -> LabelledListing:
    """The images of a split whose classes are folders: ``root/<class>/**``.

    Args:
        root: The split.
        classes: The list of classes, which fixes the labels: that of the training set. None: this
            is the training set, whose classes are its folders with images in them, by name.
        endings: As in :func:`mmwamim.datasets.listing.list_images`.
        whose: Whose list ``classes`` is, for messages.

    Raises:
        NoImages: There is no such folder, or no image in a folder of it.
        UserError: A folder belongs to no class of the list; two folders have the same name but
            for their spelling in Unicode; or the classes seem to lie one level deeper.
    """
    listing = list_images(root, endings)
    blocks = _class_blocks(listing)
    listing.paths = listing.paths.rows([rows for _, rows in blocks])
    found = [name for name, _ in blocks]
    if not found:
        raise NoImages(f'{printable(root)!r} has no class folders with images in them: expected '
                       f'<class>/<image>{_instead(listing)}')
    empty = sorted(entry.name for entry in os.scandir(listing.root) if is_folder(entry)
                   and not is_system_folder(entry.name) and entry.name not in set(found))
    if empty:
        listing.notes.append(f'folders without images are no classes: {shortened(empty)}')
    if classes is None:
        _check_depth(listing, found)
    place = class_places(found if classes is None else classes)
    unknown = [name for name in found if same_name(name) not in place]
    if unknown:
        raise UserError(unknown_classes(root, unknown, found, classes, whose))
    missing = [name for name in classes or () if same_name(name) not in set(map(same_name, found))]
    if missing:
        listing.notes.append(f'no images of {len(missing)} of {len(classes)} classes: '
                             f'{shortened(missing)}')
    index = {name: place[same_name(name)] for name in found}
    labels = np.repeat(np.array([index[name] for name in found], dtype=np.int64),
                       [rows.stop - rows.start for _, rows in blocks])
    return LabelledListing(listing, labels, tuple(found if classes is None else classes))


def _class_blocks(listing: Listing) -> List[Tuple[str, slice]]:
    """Each class folder with the places of its images, by name; others are left out."""
    blocks, outside, place, paths = [], [], 0, listing.paths
    while place < len(paths):
        first, slash, _ = paths[place].partition('/')
        end = paths.end_of_folder(place)
        if slash:
            blocks.append((first, slice(place, end)))
        else:
            outside.append(first)
        place = end
    if outside:
        listing.left_out[OUTSIDE] += len(outside)
        listing.taken -= Counter(os.path.splitext(path)[1].lower() for path in outside)
    return sorted(blocks, key=lambda block: block[0])


def _instead(listing: Listing) -> str:
    left_out = sum(listing.left_out.values())
    return f'. {listing.describe()}' if left_out or listing.notes else ''


def same_name(name: str) -> str:
    """Names that look the same are the same: systems compose accents differently."""
    return unicodedata.normalize('NFC', name)


def class_places(classes: Sequence[str]) -> Dict[str, int]:
    places = {same_name(name): i for i, name in enumerate(classes)}
    if len(places) < len(classes):
        numbers = Counter(map(same_name, classes))
        twice = [name for name in classes if numbers[same_name(name)] > 1]
        raise UserError(f'classes that are there twice: {shortened(twice)}')
    return places


def _check_depth(listing: Listing, found: List[str]) -> None:
    nested = np.flatnonzero(listing.paths.slashes() > 1)
    deeper = sorted({listing.paths[place].split('/')[1] for place in nested})
    if len(found) == 1 and len(deeper) > 1:
        raise UserError(f'{printable(listing.root)!r} has one class folder, {found[0]!r}, with '
                        f'the folders {shortened(deeper)} in it. If those are the classes, give '
                        f'{printable(listing.root / found[0])!r}')
    if deeper:
        listing.notes.append(f'images in sub-folders count to the class above: '
                             f'{shortened(deeper)}')


def unknown_classes(root, unknown: List[str], found: List[str], classes: Sequence[str],
                     whose: str) -> str:
    small = {same_name(name).casefold(): name for name in classes}
    case = [(name, small[same_name(name).casefold()]) for name in unknown
            if same_name(name).casefold() in small]
    hint = f' ({case[0][0]!r} is written {case[0][1]!r} there)' if case else ''
    return (f'{printable(root)!r} has {len(unknown)} classes that {whose} does not have: '
            f'{shortened(unknown)}{hint}. Its classes: {shortened(found)}; those of {whose}: '
            f'{shortened(classes)}')
