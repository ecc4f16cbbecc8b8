"""The one exception for what a user can put right: a config, an option, data, a checkpoint."""
import multiprocessing
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

PREEMPTED = 85  # exit code: saved, please start again with --resume


class UserError(ValueError):
    """Something that was given is wrong; the message names it and says what would be right.

    Library code raises this (or lets a ``ValueError`` of a single class pass) and never ends the
    interpreter, so a notebook or a foreign tool can catch it with ``except Exception``.
    """


class Preempted(Exception):
    """A run was asked to stop, and has saved all that is needed to go on.

    Args:
        path: The checkpoint.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f'asked to stop; saved {path}; go on with --resume')
        self.path = path


def _tell_starter(code: int) -> int:
    """tools/start_processes.py takes the exit code from a file, since torchrun makes every other
    one than 0 a 1, with a traceback."""
    if 'EXIT_CODE_FILE' not in os.environ:
        return code
    Path(os.environ['EXIT_CODE_FILE']).write_text(str(code))
    return 0


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """For the ``main`` of a script: a :class:`UserError` becomes one line and exit code 1, and
    :class:`Preempted` exit code 85.

    A context and a decorator alike: ``with told_in_one_line(): ...`` or ``@told_in_one_line()``.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f'error: {error}')
    except Preempted:
        for worker in multiprocessing.active_children():  # of loaders
            worker.terminate()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # At once: a process that tidies up for seconds is killed by Slurm.
        os._exit(_tell_starter(PREEMPTED))
