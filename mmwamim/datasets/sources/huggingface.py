"""Data sets of Hugging Face on this machine: saved ones, and Parquet files with images in them."""
import glob
import json
import os
from contextlib import suppress
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np

from ..listing import NoImages, printable, shortened
from ..loading import UnreadableImage
from ..splits import OTHERWISE, SPLITS
from .base import Source, digest_of
from .labels import LABELS, describe_labels, library, settle_labels
from .table import choose


class HuggingFaceSource(Source):
    """A column of images of a data set, memory-mapped and read row by row.

    Args:
        where: The folder that ``save_to_disk`` wrote; Parquet files with images, or a folder of
            them; or ``owner/name``, whose Parquet files lie in the local cache.
        split: 'train', 'val' or the like, where it has splits.
        labelled: Whether labels are wanted.
        classes: As of :func:`mmwamim.datasets.sources.labels.settle_labels`.
        column: The column of images. Default: the one whose type is an image.
        label_column: The column of classes. Default: the one whose type is a class, or whose
            name is usual.

    Raises:
        NoImages: There is no such split, or no row.
        UserError: datasets is not installed, or there is no such column.
    """

    def __init__(self, where: str, split: str = '', labelled: bool = False,
                 classes: Optional[Sequence[str]] = None, column: Optional[str] = None,
                 label_column: Optional[str] = None) -> None:
        self.where = where
        rows, name = _open(where, split)
        if not len(rows):
            raise NoImages(f'{printable(where)!r} has no rows')
        column = column or _typed(rows.features, 'Image') or _bytes_column(rows.features)
        column = choose(column, list(rows.features), ('image', 'img', 'picture', 'jpg'), where,
                        'images', 'column')
        self.whole = f'{where}[{name}]' if name else where
        said = f'images of the column {column!r}'
        if labelled:
            label_column = choose(label_column or _typed(rows.features, 'ClassLabel'),
                                  list(rows.features), LABELS, where, 'labels', 'label_column')
            given = np.asarray(rows.data.column(label_column).to_numpy()) \
                if rows._indices is None else np.asarray(rows[label_column][:])
            names = getattr(rows.features[label_column], 'names', None)
            if names and given.min() >= 0 and given.max() < len(names):
                given = np.array(names)[given]
                classes = classes or names
            self.labels, self.classes = settle_labels(given, classes, self.whole)
            said += f', {len(self.classes)} classes of the column {label_column!r}' + \
                describe_labels(self.labels, self.classes, given)
        rows = rows.select_columns([column])
        if type(rows.features[column]).__name__ == 'Image':
            rows = rows.cast_column(column, library('datasets').Image(decode=False))
        self.rows = rows.with_format('arrow')  # bytes as they are stored
        self.description = (f'{len(self)} images of the Hugging Face data set '
                            f'{printable(self.whole)}: {said}')

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, index: int) -> str:
        return f'{self.whole}/{index}'

    def name(self, index: int) -> str:
        return str(index)

    def digest(self) -> str:
        """By some of the images: rows have no names."""
        parts = [str(len(self)).encode()]
        for index in self.spread(16):
            with suppress(UnreadableImage):
                parts.append(self.read(index))
        return digest_of(*parts)

    def holder(self, index: int) -> str:
        files = self.rows.cache_files
        return files[0]['filename'] if files else self.where

    def read(self, index: int) -> bytes:
        value = self.rows[index].column(0)[0].as_py()
        value = dict(path=value) if isinstance(value, str) else value
        try:
            if isinstance(value, dict):
                data, path = value.get('bytes'), value.get('path')
                if data is None and path:
                    with open(path, 'rb') as file:
                        data = file.read()
                value = data
        except OSError as error:
            raise UnreadableImage(f'{self.key(index)}: {path}: {error.strerror}') from error
        if not isinstance(value, bytes):
            raise UnreadableImage(f'{self.key(index)}: there is no image in the row')
        return value


def _typed(features: dict, kind: str) -> Optional[str]:
    return next((name for name, feature in features.items() if type(feature).__name__ == kind),
                None)


def _bytes_column(features: dict) -> Optional[str]:
    """A column of files that are not said to be images: bytes, or bytes and their path."""
    return next((name for name, feature in features.items()
                 if getattr(feature, 'dtype', '') in ('binary', 'large_binary')
                 or isinstance(feature, dict) and 'bytes' in feature), None)


def _open(where: str, split: str) -> Tuple[Any, str]:
    datasets = library('datasets')
    datasets.disable_progress_bars()
    if os.path.isdir(where) and is_saved(where):
        whole = _loaded(where, datasets.load_from_disk, where)
    else:
        files = parquet_files(where)
        found = next((some for name in _names(split or 'train')
                      if (some := [path for path in files if _is_of(path, name)])), [])
        if split and not found and any(_is_of(path, name) for path in files
                                       for names in SPLITS.values() for name in names):
            raise NoImages(f'{printable(where)!r} has no Parquet file of the split {split!r}: '
                           f'there are {shortened([os.path.basename(path) for path in files])}')
        whole = _loaded(where, datasets.load_dataset, 'parquet', data_files=found or files,
                        split='train')
    if not isinstance(whole, dict):
        return whole, ''
    there = {name.lower(): name for name in reversed(list(whole))}
    name = split if split in whole else next(
        (there[name.lower()] for name in _names(split or 'train') if name.lower() in there), None)
    if name is None and (split or len(whole) > 1):
        raise NoImages(f'{printable(where)!r} has no split {split or "train"!r}: there are '
                       f'{shortened(list(whole))}')
    name = name or next(iter(whole))
    return whole[name], name


def _loaded(where: str, load: Callable, *given: object, **named: object) -> Any:
    try:
        return load(*given, **named)
    except Exception as error:  # whatever pyarrow, json and datasets raise of damaged files
        reason = str(error.__cause__ or error).strip().partition('\n')[0]
        raise NoImages(f'{printable(where)!r} cannot be opened as a Hugging Face data set, or has '
                       f'no rows: {type(error).__name__}: {reason}') from error


def splits(where: str) -> List[str]:
    """The splits that a data set has; '' alone where it has none."""
    if os.path.isdir(where) and is_saved(where):
        path = os.path.join(where, 'dataset_dict.json')
        if not os.path.isfile(path):
            return ['']
        with open(path, encoding='utf-8') as file:
            return json.load(file)['splits']
    files = parquet_files(where)
    names = [name for names in SPLITS.values() for name in names]
    found = [name for name in names if any(_is_of(path, name) for path in files)]
    return found if all(any(_is_of(path, name) for name in found) for path in files) else ['']


def _names(split: str) -> List[str]:
    """The usual names of a split."""
    kind = next((kind for kind, names in SPLITS.items() if split.lower() in names), None)
    return [split, *(name for group in OTHERWISE.get(kind, ()) for name in SPLITS[group])]


def _is_of(path: str, name: str) -> bool:
    """By the name of a file, or of its folder where that of the file says nothing."""
    folder, base = os.path.split(path.lower())

    def begins(split: str) -> bool:
        return base.startswith((f'{split}-', f'{split}_', f'{split}.'))

    if any(begins(split) for names in SPLITS.values() for split in names):
        return bool(name) and begins(name)
    return bool(name) and (begins(name) or os.path.basename(folder) == name)


def is_saved(folder: str) -> bool:
    """Whether ``save_to_disk`` wrote a folder."""
    there = {name for name in ('dataset_dict.json', 'dataset_info.json', 'state.json')
             if os.path.isfile(os.path.join(folder, name))}
    return 'dataset_dict.json' in there or len(there) == 2


def parquet_files(where: str) -> List[str]:
    """The Parquet files of a file, a folder, or a data set of the local cache.

    Raises:
        NoImages: There are none.
    """
    if os.path.isfile(where):
        return [where]
    folder = where if os.path.isdir(where) else cached(where)
    found = sorted(glob.glob(os.path.join(glob.escape(folder), '**', '*.parquet'), recursive=True)
                   ) if folder else []
    if not found:
        raise NoImages(f'{printable(where)!r} has no Parquet file')
    return found


def cached(name: str) -> str:
    """The newest snapshot of ``owner/name`` in the local cache, or ''."""
    base = os.environ.get('HF_HUB_CACHE') or os.path.join(
        os.environ.get('HF_HOME') or os.path.expanduser('~/.cache/huggingface'), 'hub')
    found = glob.glob(os.path.join(base, 'datasets--' + name.replace('/', '--'), 'snapshots', '*'))
    return max(found, key=os.path.getmtime) if name.count('/') == 1 and found else ''


def parquet_schema(path: str) -> Any:
    """The columns of a Parquet file.

    Raises:
        NoImages: It is none, or was cut off.
    """
    parquet = library('pyarrow.parquet')
    try:
        return parquet.read_schema(path)
    except (OSError, ValueError) as error:  # ArrowInvalid is one
        raise NoImages(f'{printable(path)!r} is no whole Parquet file: '
                       f'{str(error).partition(". ")[0]}') from error


def has_images(path: str) -> bool:
    """Whether the images themselves are in a Parquet file, and not their paths alone."""
    schema = parquet_schema(path)
    return any('binary' in str(field.type) for field in schema)
