"""One run at a time in a work directory."""
import fcntl
import os
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator, Optional, Set, Tuple, Union

from mmwamim.errors import UserError

from .checkpoints.finding import is_first

NAME = '.running'  # a file of the work directory, there while a run is
# The system's locks are those of a process, and do not keep two of its threads apart.
_HERE: Set[Tuple[int, str]] = set()
_GUARD = threading.Lock()


@contextmanager
def alone_in(folder: Union[str, Path]) -> Iterator[None]:
    """Keeps other runs out of a work directory: two would write checkpoints of the same names, and
    a resume clears away what the other is just writing.

    The lock is the system's and goes with the process, however that ends: what a killed run leaves
    keeps nobody out. Nothing happens where the folder is not there yet, or its file system has no
    locks, and in other processes of a run than the first.

    Raises:
        UserError: A run is going on there; the message names its process and machine.
    """
    path = Path(folder).absolute() / NAME
    if not is_first() or not path.parent.is_dir():
        yield
        return
    mine = os.getpid(), os.path.realpath(path)
    with _GUARD:
        if mine in _HERE:
            raise UserError(_taken(path, 'another thread of this process'))
        file = _lock(path)
        _HERE.add(mine)
    try:
        yield
    finally:
        with _GUARD:
            _HERE.discard(mine)
            if file is not None:
                if _is(path, file):  # while it is locked: nobody else has it
                    path.unlink()
                file.close()


def _lock(path: Path) -> Optional[IO[str]]:
    while True:
        try:
            file = path.open('a+')
        except OSError:  # what cannot be written here is told by others
            return None
        try:
            # Not flock, which workers of loaders would inherit, and keep when the run is killed.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            owner = file.read().strip()
            file.close()
            raise UserError(_taken(path, owner or 'another process')) from None
        except OSError:
            file.close()
            return None
        if _is(path, file):
            break
        file.close()  # the run before has just ended, and removed it: once more
    file.truncate(0)
    file.write(f'process {os.getpid()} of {socket.gethostname()}\n')
    file.flush()
    return file


def _is(path: Path, file: IO[str]) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False


def _taken(path: Path, owner: str) -> str:
    return (f'a run is going on in {str(path.parent)!r} ({owner}): wait for its end, or take '
            f'another folder; if it is no more, remove {str(path)!r}')
