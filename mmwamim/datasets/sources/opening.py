"""From what --data says to the images: which kind of place it is, and which part of it."""
import glob
import os
import re
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

from mmwamim.errors import UserError

from ..listing import NoImages, is_folder, printable, readable_endings
from ..splits import OTHERWISE, SPLITS, find_split, pretraining_folder, settle_split
from . import huggingface
from .base import Source
from .copies import COMPRESSED
from .database import DatabaseSource
from .folder import FolderSource
from .huggingface import HuggingFaceSource
from .listed import from_label_file
from .shards import ShardSource
from .stream import StreamSource, is_stream
from .stream import parted as parted_stream
from .table import ENDINGS, TableSource

LMDB = ('.lmdb', '_lmdb')  # folders
DATA_BASES = ('.mdb', '.lmdb')
ARCHIVES = ('.zip', '.7z', '.rar')
LOOKED_AT = 1000  # entries of a folder that tell what it is
TAKEN = ('a folder of images, a .txt, .csv, .tsv or .parquet file with a column of paths, tar '
         "shards (a folder of them, 'train-{000..099}.tar' or .tar.gz), a Hugging Face data set on "
         'this machine, or an LMDB data base')


def is_tar(name: str) -> bool:
    """Whether a file or pattern names tar shards."""
    return '.tar' in name.lower() or name.lower().endswith('.tgz')


def kind_of_place(where: str) -> str:
    """'folder', 'table', 'shards', 'lmdb' or 'huggingface'.

    Raises:
        NoImages: There is nothing of that name, or no such kind of file.
    """
    if is_stream(where):
        return 'shards'
    _check_access(where)
    if os.path.isdir(where):
        return _kind_of_folder(where)
    lower = where.lower()
    if lower.endswith('.parquet') and os.path.isfile(where):
        return 'huggingface' if huggingface.has_images(where) else 'table'
    if os.path.isfile(where) and lower.endswith(ENDINGS):
        return 'table'
    if os.path.isfile(where) and lower.endswith(DATA_BASES):
        return 'lmdb'
    if is_tar(where):
        return 'shards'
    if huggingface.cached(where):
        return 'huggingface'
    there = 'is of no kind that is read' if os.path.exists(where) else 'is not a folder, nor ' \
        'anything else that is there'
    if os.path.isfile(where) and lower.endswith(ARCHIVES):
        there = 'is an archive, which is not opened: unpack it'
    raise NoImages(f'{printable(where)!r} {there}: expected {TAKEN}')


def _check_access(where: str) -> None:
    """Raises NoImages where a file or folder is there, and is not ours to read."""
    try:
        if os.path.isdir(where):
            os.scandir(where).close()
        elif os.path.isfile(where):
            open(where, 'rb').close()
    except PermissionError as error:
        raise NoImages(f'{printable(where)!r} cannot be read: {error.strerror}') from error


def _kind_of_folder(where: str) -> str:
    if os.path.isfile(os.path.join(where, 'data.mdb')):
        return 'lmdb'
    if huggingface.is_saved(where):
        return 'huggingface'
    endings, names = readable_endings(), []
    with os.scandir(where) as entries:
        for entry, _ in zip(entries, range(LOOKED_AT)):
            names.append(entry.name.lower())
    if any(name.endswith(endings) for name in names):
        return 'folder'
    if any(map(is_tar, names)):
        return 'shards'
    tables = glob.glob(os.path.join(glob.escape(where), '*.parquet'))
    if not tables:  # as a data set of the hub is downloaded
        tables = [path for name in ('data', *SPLITS['train']) for path in
                  glob.glob(os.path.join(glob.escape(where), name, '*.parquet'))]
    return 'huggingface' if tables and huggingface.has_images(tables[0]) else 'folder'


def locate(root: str, split: str = '') -> Tuple[str, str]:
    """Where a split lies, and the split that is still to be chosen there: the root itself, or a
    folder, file or set of shards in it that has one of the split's usual names.

    Raises:
        NoImages: There is no such split.
    """
    kind = kind_of_place(root)
    if split and os.path.isdir(root) and find_split(root, split) is not None:
        return str(find_split(root, split)), ''
    if kind in ('huggingface', 'table') or not split:
        return root, split
    named = named_split(root, split)
    if named:
        return named, ''
    if kind == 'folder':
        settle_split(root, split)  # raises, with what there is
    if split.lower() not in SPLITS['train']:
        raise NoImages(no_split(root, split))
    return root, ''


def no_split(where: str, split: str) -> str:
    """What to say about a place that is all of one split."""
    return (f'{printable(where)!r} has no split {split!r} in it: give a folder that holds, say, '
            f'train.csv and {split}.csv, or name both with train_dataloader.dataset.data_root and '
            'val_dataloader.dataset.data_root in the config')


def for_pretraining(root: str) -> Tuple[str, str]:
    """The place to pre-train on, and what to say about it: the part for training where there are
    several."""
    kind = kind_of_place(root)
    if kind == 'folder':
        with os.scandir(root) as entries:
            some = [entry for entry, _ in zip(entries, range(LOOKED_AT))]
        files_alone = not any(
            is_folder(entry) and not entry.name.lower().endswith(LMDB)
            or entry.name.lower().endswith(readable_endings()) for entry in some)
        named = named_split(root, 'train') if files_alone else ''
        folder, note = (named, '') if named else pretraining_folder(root)
        return str(folder), note
    if kind == 'shards' and os.path.isdir(root) and named_split(root, 'val'):
        return named_split(root, 'train') or root, ''
    return root, ''


def named_split(root: str, split: str) -> str:
    """A file, data base or set of shards of a split, or ''."""
    kind = next((kind for kind, names in SPLITS.items() if split.lower() in names), None)
    for name in [split, *(n for group in OTHERWISE.get(kind, ()) for n in SPLITS[group])]:
        start = os.path.join(glob.escape(root), glob.escape(name))
        # Data bases first: a list of the same name beside one has its labels.
        tars = ('.tar', *COMPRESSED)
        for pattern in (*(f'{start}{ending}' for ending in (*LMDB, *ENDINGS, *tars)),
                        *(f'{start}[-_]*{ending}' for ending in tars)):
            found = glob.glob(pattern)
            if found:
                return found[0] if len(found) == 1 else pattern
    return ''


def open_source(root: str, split: str = '', labelled: bool = False,
                classes: Optional[Sequence[str]] = None, endings: Optional[Sequence[str]] = None,
                column: Optional[str] = None, label_column: Optional[str] = None) -> Source:
    """The images of a place, whatever kind it is.

    Args:
        root: What --data says: a folder, a file, a pattern or a name; see :data:`TAKEN`.
        split: 'train', 'val' or the like, where labels are wanted; '': all that is there.
        labelled: Whether labels are wanted.
        classes: The list of classes, which fixes the labels.
        endings: Which files of a folder count.
        column: The column of paths or images.
        label_column: The column of classes.

    Raises:
        NoImages: There is no such place, split or image.
        UserError: There are no labels, or others than those of ``classes``; a library is missing;
            there are no columns.
    """
    if not root:  # an unset variable of a shell; as a path it would be the current directory
        raise NoImages("the place of the data is empty (''): give a folder")
    root, note = os.path.expanduser(root), ''
    if labelled:
        where, split = locate(root, split)
    else:
        where, note = for_pretraining(root)
    return open_kind(where, split, labelled, classes, endings, column, label_column, note)


def open_listed(label_file: str, place: str, labelled: bool,
                classes: Optional[Sequence[str]] = None) -> Source:
    """The images that a label file such as ``meta/train.txt`` names, in a folder or an LMDB data
    base; arguments as of :func:`mmwamim.datasets.sources.listed.from_label_file`.

    Raises:
        UserError: They lie elsewhere, or a line has no label.
        NoImages: The data base lacks one of them.
    """
    kind = kind_of_place(place) if os.path.exists(place) else 'folder'
    if kind == 'lmdb':
        return DatabaseSource(place, labelled, classes, label_file)
    if kind != 'folder' and not os.path.isdir(place):
        raise UserError(f'a label file (ann_file) names files of a folder or keys of an LMDB data '
                        f'base, and {printable(place)!r} is neither')
    return from_label_file(label_file, place, labelled, classes)


def open_kind(where: str, split: str, labelled: bool, classes: Optional[Sequence[str]],
              endings: Optional[Sequence[str]], column: Optional[str],
              label_column: Optional[str] = None, note: str = '') -> Source:
    """A place that was found, as the kind that it is of; arguments as of :func:`open_source`."""
    kind = kind_of_place(where)
    if kind in ('table', 'huggingface'):
        source = TableSource if kind == 'table' else HuggingFaceSource
        return source(where, split, labelled, classes, column, label_column)
    if column or label_column:
        raise UserError(f'{printable(where)!r} has no columns ({column or label_column!r}): only '
                        'tables and Hugging Face data sets have')
    if kind == 'folder':
        return FolderSource(where, labelled, classes, endings or readable_endings(), note)
    source = DatabaseSource if kind == 'lmdb' else StreamSource if is_stream(where) else ShardSource
    return source(where, labelled, classes)


def name_of_place(where: Union[str, Path]) -> str:
    """A name for what comes of a place: 'train' for 'sets/train-{000..146}.tar'.

    Examples:
        >>> [name_of_place(where) for where in ('me/birds.csv', 'x-{00..99}.tar', 'me/cats')]
        ['birds', 'x', 'cats']
    """
    where = parted_stream(str(where))[1] if is_stream(str(where)) else where
    name = os.path.basename(os.path.abspath(os.path.expanduser(where)))  # a link keeps its own
    if not os.path.isdir(where):
        name = re.split(r'[{*?[]', re.sub(r'(\.\w{1,7})+$', '', name))[0].rstrip('-_. ')
    return name or 'images'


def is_other(root: str, split: str = '') -> bool:
    """Whether the images lie elsewhere than in a folder of files."""
    try:
        return kind_of_place(locate(os.path.expanduser(root), split)[0]) != 'folder'
    except NoImages:
        return False  # whoever opens it will tell
