"""Plain copies of tar shards that cannot be read at any place: compressed ones, and those that come
from a program or a server.

WebDataset reads such shards as streams, or with ``cache_dir`` copies them first; so does this. What
a data set promises, every image at most once an epoch and a resumed run that goes on in the middle
of it, no stream can keep.
"""
import bz2
import gzip
import hashlib
import lzma
import os
import re
import shutil
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, List, Sequence, Tuple

from mmwamim.errors import UserError

from ..kept import cache_folder, forget
from ..listing import NoImages, printable
from .labels import library

COMPRESSED = ('.tar.gz', '.tgz', '.tar.bz2', '.tar.xz', '.tar.zst')
BLOCK = 1 << 20
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError)


def is_remote(name: str) -> bool:
    """Whether a shard is a program's output (``pipe:...``) or lies on a server (``https://...``)."""
    return name.startswith('pipe:') or re.match(r'[a-z][a-z0-9+]*://', name) is not None


def needs_copy(name: str) -> bool:
    """Whether a shard has to be copied before it can be read."""
    return is_remote(name) or name.lower().endswith(COMPRESSED)


def copies_folder() -> Path:
    """Where copies are kept: beside the indexes in the user's cache."""
    return cache_folder().with_name('shards')


def check_space(names: Sequence[str]) -> None:
    """Says that copies are made.

    Raises:
        UserError: They cannot fit the disk.
    """
    if not names:
        return
    folder = copies_folder()
    folder.mkdir(parents=True, exist_ok=True)
    size = sum(os.path.getsize(name) for name in names if not is_remote(name))
    free = shutil.disk_usage(folder).free
    if size > free:
        raise UserError(f'{len(names)} compressed shards of {size / 2**30:.1f} GiB do not fit '
                        f'{folder}, where {free / 2**30:.1f} GiB are free and plain copies of them '
                        'are kept: set XDG_CACHE_HOME to a larger disk')
    print(f'copying {len(names)} shards, such as {printable(names[0])!r}, to {folder} once, since '
          'they cannot be read at any place', file=sys.stderr)
    forget(folder)


def copy_shard(name: str) -> Tuple[str, str]:
    """The plain copy of a shard, and what is wrong with it, or ''. What comes before a damage is
    kept.

    Raises:
        NoImages: A program or server does not give it.
        UserError: It is of zstandard, which is not installed; or webdataset is not.
    """
    key = name if is_remote(name) else f'{os.path.abspath(name)} {os.stat(name)[6:9]}'
    digest = hashlib.blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()
    copy = copies_folder() / f'{digest}.tar'
    waiting = copy.with_suffix(f'.{os.getpid()}')
    try:
        with open(waiting, 'wb') as file:
            note = _copy(name, file)
        os.replace(waiting, copy)
    finally:
        with suppress(OSError):
            waiting.unlink()
    return str(copy), note


def _copy(name: str, file: IO[bytes]) -> str:
    if is_remote(name):
        gopen = library('webdataset.gopen').gopen
        try:
            with gopen(name) as stream:
                shutil.copyfileobj(_decompressed(stream), file, BLOCK)
        except OSError as error:
            raise NoImages(f'{printable(name)!r} cannot be read: {printable(error)}') from error
        return ''
    with open(name, 'rb') as stream:
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


def refresh(copies: List[str]) -> bool:
    """Whether all copies are still there; they are marked as in use."""
    with suppress(OSError):
        for copy in copies:
            os.utime(copy)
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
    if first.startswith(b'\x1f\x8b'):
        return gzip.GzipFile(fileobj=whole)
    if first.startswith(b'BZh'):
        return bz2.BZ2File(whole)
    if first.startswith(b'\xfd7zXZ\0'):
        return lzma.LZMAFile(whole)
    if first.startswith(b'\x28\xb5\x2f\xfd'):
        return library('zstandard').ZstdDecompressor().stream_reader(whole, read_across_frames=True)
    return whole
