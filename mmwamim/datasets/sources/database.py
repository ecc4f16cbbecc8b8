"""An LMDB data base as OpenMMLab's tools write it: a key and the bytes of a file each."""
import os
import re
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from mmwamim.errors import UserError

from ..listing import NoImages, printable
from ..loading import UnreadableImage
from ..paths import PackedPaths
from .base import Source
from .labels import describe_labels, folders_as_labels, library, settle_labels

ABOUT = ('__keys__', '__len__')  # entries that are no images
NUMBERED, IMAGE, LABEL = 'num-samples', 'image-', 'label-'  # MMOCR's keys
META = 'meta_info.txt'


class DatabaseSource(Source):
    """The entries of an LMDB environment, by their keys.

    The images are those that a label file names, or ``meta_info.txt`` in the folder, as MMagic's
    tools write it (``name.png (H,W,C) compression`` a line; keys may lack the ending), or all.
    The class of one is what the first of these says: the label file, ``key class`` a line; an entry
    ``label-000000001`` for ``image-000000001``, as in MMOCR; the folder in the key, ``cat/1.jpg``.
    A label file is looked for at ``labels.txt`` in the folder, and at ``NAME.txt`` or
    ``meta/NAME.txt`` beside ``NAME.lmdb``.

    Args:
        path: The folder with ``data.mdb``.
        labelled: Whether labels are wanted.
        classes: As of :func:`mmwamim.datasets.sources.labels.settle_labels`.
        label_file: Another label file.

    Raises:
        NoImages: It is empty, or lacks a key that a file names.
        UserError: lmdb is not installed, this is no data base, or there are no labels.
    """

    def __init__(self, path: str, labelled: bool = False,
                 classes: Optional[Sequence[str]] = None, label_file: str = '') -> None:
        self.path, given = path, None
        label_file = label_file or (find_label_file(path) if labelled else '')
        meta = os.path.join(path, META)
        with self._environment().begin() as transaction:
            numbered = transaction.get(NUMBERED.encode()) is not None
            if label_file:
                rows = read_label_file(label_file, labelled)
                names = self._named(transaction, (name for name, _ in rows), label_file)
                given = [label for _, label in rows]
            elif os.path.isfile(meta):
                with open(meta, encoding='utf-8', errors='surrogateescape') as lines:
                    stated = [line.split(' (')[0].strip() for line in lines if line.strip()]
                names = self._named(transaction, stated, meta)
            else:
                names = self._all(transaction, IMAGE if numbered else '')
            self.keys = PackedPaths.from_strings(names)
            if labelled and numbered and given is None:
                given = [(transaction.get(key.replace(IMAGE, LABEL, 1).encode()) or b'').decode()
                         for key in self.keys]
        if not len(self.keys):
            raise NoImages(f'{printable(path)!r} is an LMDB data base without entries')
        if labelled:
            given = folders_as_labels(self.keys, path) if given is None else given
            self.labels, self.classes = settle_labels(given, classes, path)
        by = label_file or (META if os.path.isfile(meta) else '')
        self.description = f'{len(self)} images of the LMDB data base {printable(path)}' + (
            f', those that {printable(by)} names' if by else '')
        if labelled:
            self.description += describe_labels(self.labels, self.classes, given)

    @staticmethod
    def _all(transaction: Any, start: str) -> Iterator[str]:
        keys = (key.decode('utf-8', 'surrogateescape')
                for key in transaction.cursor().iternext(values=False))
        return (key for key in keys if key not in ABOUT and key.startswith(start))

    def _named(self, transaction: Any, names: Iterable[str], file: str) -> Iterator[str]:
        """The keys of images that a file names, with their ending or without it."""
        for name in names:
            found = next((key for key in (name, os.path.splitext(name)[0])
                          if transaction.get(_bytes(key)) is not None), None)
            if found is None:
                raise NoImages(f'{printable(file)} names {printable(name)!r}, which is no key of '
                               f'the LMDB data base {printable(self.path)}')
            yield found

    def key(self, index: int) -> str:
        return f'{self.path}/{self.keys[index]}'

    def holder(self, index: int) -> str:
        return os.path.join(self.path, 'data.mdb') if os.path.isdir(self.path) else self.path

    def read(self, index: int) -> bytes:
        key = _bytes(self.keys[index])
        try:
            with self._environment().begin() as transaction:
                data = transaction.get(key)
        except library('lmdb').Error as error:
            raise UnreadableImage(f'{self.key(index)}: {error}') from error
        if data is None:
            raise UnreadableImage(f'{self.key(index)}: the data base has lost this key')
        return data

    def _environment(self) -> Any:
        path = os.path.realpath(self.path)
        if path not in OPEN:
            lmdb = library('lmdb')
            try:
                OPEN[path] = lmdb.open(path, subdir=os.path.isdir(path), readonly=True, lock=False,
                                       readahead=False)
            except lmdb.Error as error:
                raise NoImages(f'{printable(path)!r} cannot be opened as an LMDB data base: '
                               f'{error}') from error
        return OPEN[path]


def _bytes(key: str) -> bytes:
    return key.encode('utf-8', 'surrogateescape')


def find_label_file(path: str) -> str:
    """The label file in a data base's folder or beside it, or ''."""
    folder, name = os.path.split(os.path.abspath(path))
    name = re.sub('[._]lmdb$|[.]mdb$', '', name)
    places = (os.path.join(path, 'labels.txt'), os.path.join(folder, f'{name}.txt'),
              os.path.join(folder, 'meta', f'{name}.txt'))
    return next((place for place in places if os.path.isfile(place)), '')


def read_label_file(path: str, labelled: bool = True) -> List[Tuple[str, str]]:
    """(key, class) of each line.

    Raises:
        UserError: A line has no class, where labels are wanted.
    """
    rows = []
    with open(path, encoding='utf-8-sig', errors='surrogateescape') as lines:
        for number, line in enumerate(lines, start=1):
            parts = line.strip().rsplit(None, 1)
            if labelled and len(parts) == 1:
                raise UserError(f'{printable(path)}, line {number}: expected a key of the data '
                                f'base, a blank and its class, not {printable(line.strip())!r}')
            rows += [(parts[0], parts[1])] if len(parts) == 2 else [(line.strip(), '')] * len(parts)
    return rows


def close_all() -> None:
    """Before a fork: what it would hand on must not be used, and cannot be opened again."""
    while OPEN:
        OPEN.popitem()[1].close()


OPEN: Dict[str, Any] = {}  # a process may open each but once, whoever reads it
os.register_at_fork(before=close_all)
