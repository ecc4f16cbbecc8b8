"""Indexes that are kept from one start to the next, in the user's cache.

Memory that is mapped from a file is there once, however many processes and loader workers of a
machine read it.
"""
import fcntl
import functools
import hashlib
import os
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Optional

import numpy as np
import torch

UNUSED = 90 * 86400.  # seconds after which an index or a copy is removed


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/mmwamim/indexes``, or else that below ``~/.cache``; where the user has no
    home, as in some containers, that of the folder for temporary files."""
    base = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    if base.startswith('~'):
        base = os.path.join(tempfile.gettempdir(), f'cache-{os.getuid()}')
    return Path(os.path.abspath(base), 'mmwamim', 'indexes')


class Kept:
    """One file of the cache.

    Args:
        path: Where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, *fields: str) -> Optional[dict]:
        """What was kept, its tensors mapped from the file; None if there is none that can be
        read and has these fields, as after an interrupted write or by another version."""
        if not self.path.is_file():
            return None
        try:
            content = torch.load(self.path, map_location='cpu', mmap=True, weights_only=True)
        except Exception:  # torch raises whatever it likes; the index is made again
            return None
        if not isinstance(content, dict) or any(field not in content for field in fields):
            return None
        with suppress(OSError):
            os.utime(self.path)  # it is in use
        return content

    def save(self, content: dict) -> bool:
        """Keeps tensors, numbers, strings, and lists and dicts of them; the file is whole or not
        there. Says so in a line where it cannot be written."""
        waiting = self.path.with_suffix(f'.{os.getpid()}')
        try:
            torch.save(content, waiting)
            os.replace(waiting, self.path)
            forget(self.path.parent)
            return True
        except (OSError, RuntimeError) as error:
            # Of a full disk torch says 'basic_ios::clear: iostream error'.
            reason = error if isinstance(error, OSError) else 'no space is left, or no permission'
            _say_once(f'the index cannot be kept in {self.path.parent}, and is made again at every '
                      f'start: {reason}')
            with suppress(OSError):
                waiting.unlink()
            return False


@functools.lru_cache(maxsize=64)
def _say_once(text: str) -> None:
    """In a process: a command may list a folder several times."""
    print(text, file=sys.stderr)


def forget(folder: Path) -> None:
    """Removes what was not used for a long time."""
    for name in os.listdir(folder):
        with suppress(OSError):  # gone already
            if time.time() - (folder / name).stat().st_mtime > UNUSED:
                (folder / name).unlink()


def tensor_of(values: np.ndarray) -> torch.Tensor:
    """An array as a tensor on the same memory, which may be read alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='The given NumPy array is not writable')
        return torch.from_numpy(values)


@contextmanager
def kept(*key: object) -> Iterator[Kept]:
    """The file for a key, for this process alone: of several on a machine the first one makes the
    index, and the others wait and find it."""
    name = hashlib.blake2b('\0'.join(map(str, key)).encode('utf-8', 'surrogatepass'),
                           digest_size=16).hexdigest()
    file = Kept(cache_folder() / f'{name}.pt')
    with locked(file.path):
        yield file


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A file of the cache for this thread alone, whether it is there or not."""
    lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not one a file, which would fill the folder.
        lock = open(path.with_name(f'{path.name[:2]}.lock'), 'w')
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        pass  # some network drives have no locks: each process makes its own
    try:
        yield
    finally:
        if lock is not None:
            with suppress(OSError):
                # Closing it would not do where another thread has forked a worker meanwhile, which
                # has it open, too.
                fcntl.flock(lock, fcntl.LOCK_UN)
            lock.close()
