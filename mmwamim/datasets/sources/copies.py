"""Plain copies of tar shards that cannot be read at any place: compressed ones, and those that come
from a program or a server.

WebDataset reads such shards as streams, or with ``cache_dir`` copies them first; so does this. What
a data set promises, every image at most once an epoch and a resumed run that goes on in the middle
of it, no stream can keep. :mod:`mmwamim.datasets.sources.stream` keeps a few copies at a time.
"""
import bz2
import gzip
import hashlib
import lzma
import os
import re
import shutil
import sys
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Iterator, Optional, Sequence, Tuple

from mmwamim.errors import UserError

from ..kept import cache_folder, forget, locked
from ..listing import NoImages, printable
from .labels import library

COMPRESSED = ('.tar.gz', '.tgz', '.tar.bz2', '.tar.xz', '.tar.zst')
PACKED = GZIP, BZIP2, XZ, ZSTD = b'\x1f\x8b', b'BZh', b'\xfd7zXZ\0', b'\x28\xb5\x2f\xfd'
BLOCK = 1 << 20
ABANDONED = 3600.  # seconds after which nothing was written to a file
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError)


def is_remote(name: str) -> bool:
    """Whether a shard is a program's output (``pipe:...``) or lies on a server (``https://...``)."""
    return name.startswith('pipe:') or re.match(r'[a-z][a-z0-9+]*://', name) is not None


def needs_copy(name: str) -> bool:
    """Whether a shard has to be copied before it can be read."""
    return is_remote(name) or name.lower().endswith(COMPRESSED)


def is_compressed(path: str) -> bool:
    """Whether a file is, by its first bytes, whatever its name says."""
    with suppress(OSError), open(path, 'rb') as file:
        return file.read(6).startswith(PACKED)
    return False


def copies_folder() -> Path:
    """Where copies are kept: beside the indexes in the user's cache."""
    return cache_folder().with_name('shards')


def check_space(names: Sequence[str], most: Optional[int] = None) -> None:
    """Says that copies are made.

    Args:
        names: The shards.
        most: How many copies are kept at a time. Default: all.

    Raises:
        UserError: They cannot fit the disk.
    """
    if not names:
        return
    folder = copies_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_kept(error) from error
    sizes = sorted(os.path.getsize(name) for name in names if not is_remote(name))
    size, free = sum(sizes[-(most or len(sizes)):]), shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f'{min(most or len(names), len(names))} compressed shards of '
                        f'{size / 2**30:.1f} GiB do not fit '
                        f'{folder}, where {free / 2**30:.1f} GiB are free and plain copies of them '
                        'are kept: set XDG_CACHE_HOME to a larger disk' + (
                            '' if most else ', or put stream: before their name'))
    print(f'reading {len(names)} shards once for an index of their images, such as '
          f'{printable(names[0])!r}; {most} copies are kept in {folder} at a time' if most else
          f'copying {len(names)} shards, such as {printable(names[0])!r}, to {folder} once, since '
          'they cannot be read at any place', file=sys.stderr)
    forget(folder)


def _not_kept(error: OSError) -> UserError:
    return UserError(f'plain copies of shards cannot be kept in {copies_folder()} '
                     f'({error.strerror}): set XDG_CACHE_HOME to a folder of a disk that is '
                     'writable and has room')


class _Copy:
    """A file that is written to. What fails is told apart from a damage of what is read.

    Args:
        path: Of the file, which is replaced.
    """

    def __init__(self, path: Path) -> None:
        with self._told():
            self.file = open(path, 'wb', buffering=0)

    def write(self, block: bytes) -> None:
        left = memoryview(block)
        with self._told():
            while left:
                left = left[self.file.write(left):]

    @staticmethod
    @contextmanager
    def _told() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _not_kept(error) from error


def copy_shard(name: str, among: Sequence[str] = (), most: Optional[int] = None) -> Tuple[str, str]:
    """The plain copy of a shard, and what is wrong with it, or ''. What comes before a damage is
    kept.

    Args:
        name: The shard.
        among, most: Copies of which ``most`` are kept at a time, this one with them. Processes and
            threads that fetch others of them meanwhile are waited for, and none can end between
            the two steps and leave one too many. Default: as many as there are.

    Raises:
        NoImages: A program or server does not give it.
        UserError: It is of zstandard, which is not installed; or webdataset is not; or the copy
            cannot be written.
    """
    key = name
    if not is_remote(name):
        state = os.stat(name)
        key = f'{os.path.abspath(name)} {state.st_size} {state.st_mtime_ns}'
    digest = hashlib.blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()
    copy = copies_folder() / f'{digest}.tar'
    waiting = copy.with_suffix(f'.{os.getpid()}')
    try:
        target = _Copy(waiting)
        with target.file:
            note = _copy(name, target)
        with locked(copies_folder() / 'room'):
            trim([other for other in among if other != str(copy)], most and most - 1)
            os.replace(waiting, copy)
    finally:
        with suppress(OSError):
            waiting.unlink()
    return str(copy), note


def _copy(name: str, file: _Copy) -> str:
    if is_remote(name):
        gopen = library('webdataset.gopen').gopen
        try:
            with gopen(name) as stream:
                shutil.copyfileobj(_decompressed(stream), file, BLOCK)
        except OSError as error:
            raise NoImages(f'{printable(name)!r} cannot be read: {printable(error)}') from error
        return ''
    try:
        stream = open(name, 'rb')
    except OSError as error:
        raise NoImages(f'{printable(name)!r} cannot be read: {error.strerror}') from error
    with stream:
        try:
            plain = _decompressed(stream)
            read = getattr(plain, 'read1', plain.read)  # what is whole before a damage
            while block := read(BLOCK):
                file.write(block)
        except DAMAGE as error:
            return f'{printable(name)} is damaged: {error}'
        except Exception as error:
            if type(error).__name__ != 'ZstdError':
                raise
            return f'{printable(name)} is damaged: {error}'
    return ''


def trim(copies: Sequence[str], most: Optional[int]) -> None:
    """Removes all but the ``most`` copies that were used last; None: no one. A process that reads
    one of the others goes on with it."""
    if most is None:
        return
    _forget_abandoned()
    times = []
    for copy in tuple(copies):
        with suppress(OSError):  # not there now
            times.append((os.stat(copy).st_mtime_ns, copy))
    for _, copy in sorted(times)[:max(0, len(times) - most)]:
        with suppress(OSError):
            os.unlink(copies_folder() / os.path.basename(copy))  # never a shard itself


def _forget_abandoned() -> None:
    """Removes what processes were writing when they ended."""
    for path in copies_folder().glob('*.[0-9]*'):
        with suppress(OSError):  # gone already
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def refresh(index: dict) -> bool:
    """Whether all copies of an index of shards are still there, and whole; they are marked as in
    use."""
    copies = set(index['copies'])
    with suppress(OSError):
        for path, size in zip(index['files'], index['sizes']):
            if path in copies:
                os.utime(path)
                if os.path.getsize(path) != size:
                    return False
        return True
    return False


class _Rewound:
    """A stream whose first bytes were looked at."""

    def __init__(self, first: bytes, stream: IO[bytes]) -> None:
        self.first, self.stream = first, stream

    def read(self, size: int = -1) -> bytes:
        if not self.first:
            return self.stream.read(size)
        size = len(self.first) if size < 0 else size  # fewer bytes than are asked for will do
        found, self.first = self.first[:size], self.first[size:]
        return found


def _decompressed(stream: IO[bytes]) -> IO[bytes]:
    """By the first bytes, whatever the name says."""
    first = stream.read(6)
    whole = _Rewound(first, stream)
    if first.startswith(GZIP):
        return gzip.GzipFile(fileobj=whole)
    if first.startswith(BZIP2):
        return bz2.BZ2File(whole)
    if first.startswith(XZ):
        return lzma.LZMAFile(whole)
    if first.startswith(ZSTD):
        return library('zstandard').ZstdDecompressor().stream_reader(whole, read_across_frames=True)
    return whole
