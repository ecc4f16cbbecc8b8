"""An LMDB data base as OpenMMLab's tools write it: a key and the bytes of a file each."""
import os
from typing import Any, Dict, Optional, Sequence

from ..listing import NoImages, printable
from ..loading import UnreadableImage
from ..paths import PackedPaths
from .base import Source
from .labels import folders_as_labels, library, settle_labels

ABOUT = ('__keys__', '__len__', 'num-samples', 'num_samples')  # entries that are no images


class DatabaseSource(Source):
    """The entries of an LMDB environment, by their keys.

    The class of an entry is the folder in its key, ``cat/1.jpg``.

    Args:
        path: The folder with ``data.mdb``.
        labelled: Whether labels are wanted.
        classes: As of :func:`mmwamim.datasets.sources.labels.settle_labels`.

    Raises:
        NoImages: It is empty.
        UserError: lmdb is not installed, or this is no data base.
    """

    def __init__(self, path: str, labelled: bool = False,
                 classes: Optional[Sequence[str]] = None) -> None:
        self.path = path
        with self._environment().begin() as transaction:
            keys = (key.decode('utf-8', 'surrogateescape')
                    for key in transaction.cursor().iternext(values=False))
            self.keys = PackedPaths.from_strings(key for key in keys if key not in ABOUT)
        if not len(self.keys):
            raise NoImages(f'{printable(path)!r} is an LMDB data base without entries')
        if labelled:
            self.labels, self.classes = settle_labels(
                folders_as_labels(self.keys, path), classes, path)
        self.description = f'{len(self)} images of the LMDB data base {printable(path)}'

    def key(self, index: int) -> str:
        return f'{self.path}/{self.keys[index]}'

    def read(self, index: int) -> bytes:
        key = self.keys[index].encode('utf-8', 'surrogateescape')
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


def close_all() -> None:
    """Before a fork: what it would hand on must not be used, and cannot be opened again."""
    while OPEN:
        OPEN.popitem()[1].close()


OPEN: Dict[str, Any] = {}  # a process may open each but once, whoever reads it
os.register_at_fork(before=close_all)
