"""The one exception for what a user can put right: a config, an option, data, a checkpoint."""
import difflib
import multiprocessing
import os
import re
import signal
import sys
import traceback
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional

from mmwamim.interface.words import in_shell, option

PREEMPTED = 85  # exit code: saved, please start again with --resume


class UserError(ValueError):
    """Something that was given is wrong; the message names it and says what would be right.

    Library code raises this (or lets a ``ValueError`` of a single class pass) and never ends the
    interpreter, so a notebook or a foreign tool can catch it with ``except Exception``.

    Args:
        message: What is wrong and what would be right. Of an error that torch hands on from a
            loader's worker, with a traceback for a message, the message alone is kept.
    """

    def __init__(self, message: object = '') -> None:
        text = str(message)
        if text.startswith('Caught ') and '\nOriginal Traceback' in text:
            name = rf'^[\w.]*{type(self).__name__}: '
            text = re.split(name, text, flags=re.MULTILINE)[-1].rstrip()
        super().__init__(text)


class MissingFile(UserError, FileNotFoundError):
    """A file that was named is not there."""


class Preempted(Exception):
    """A run was asked to stop, and has saved all that is needed to go on.

    Args:
        path: The checkpoint.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f'asked to stop; saved {path}; go on with {option("resume", True)}')
        self.path = path


class ProcessesFailed(RuntimeError):
    """One of several processes that were started has failed; it has printed why.

    Args:
        code: Its exit code, 128 + N where signal N has ended it.
        message: What is known of it.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _tell_starter(code: int) -> int:
    """mmwamim.machine.launch takes the exit code from a file, since torchrun makes every other
    one than 0 a 1, with a traceback."""
    if 'EXIT_CODE_FILE' not in os.environ:
        return code
    Path(os.environ['EXIT_CODE_FILE']).write_text(str(code))
    return 0


def _is_said(message: str) -> bool:
    """Whether another of several processes, which find the same mistake, has printed it."""
    if 'EXIT_CODE_FILE' not in os.environ:
        return False
    try:
        Path(f'{os.environ["EXIT_CODE_FILE"]}.{zlib.crc32(message.encode()):08x}').touch(
            exist_ok=False)
    except FileExistsError:
        return True
    return False


def refused_field(error: Exception) -> Optional[str]:
    """What to say of an error that a config's wrong value, or a name of no part that there is, has
    caused. None for any other error.

    While a part was built from a config these are: a ``ValueError``; what MMEngine's builder itself
    says of a type or a field; and whatever code of other packages raises, which checks what it is
    given by assertions, or not at all. Of this package's own code any other error is a fault.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    builders = [frame for frame in frames
                if frame.f_code.co_filename.endswith('mmengine/registry/build_functions.py')]
    if not builders:
        return None
    text = ' '.join(str(error.args[0] if error.args else error).split())
    if frames[-1] is builders[-1]:
        if not isinstance(error, (KeyError, TypeError, ValueError)):
            return None
        return _with_nearest(text, builders[-1].f_locals)
    package = str(Path(__file__).parent) + os.sep
    owner = getattr(builders[-1].f_locals.get('obj_cls'), '__name__', '')
    ours = frames[-1].f_code.co_filename.startswith(package)
    if isinstance(error, ValueError):
        return text if ours or not owner else f'{owner}: {text}'
    if ours or isinstance(error, (OSError, ImportError)):  # the last two say what is missing
        return None
    if isinstance(error, AssertionError):
        text = text or f'{traceback.extract_tb(error.__traceback__)[-1].line} does not hold'
    else:
        text = f'{type(error).__name__}: {text}'
    fields = ', '.join(f'{name}={value!r:.60}'
                       for name, value in builders[-1].f_locals.get('args', {}).items())
    return f'{owner or "the config"}: {text[:400]}' + (f' (given {fields:.400})' if fields else '')


def _with_nearest(text: str, builder: Mapping[str, Any]) -> str:
    """What MMEngine's builder says, for a name of no part with the nearest one that there is."""
    text, unknown, _ = text.partition('. Please check whether')
    name = builder.get('scheduler_type', builder.get('obj_type'))
    known, registry = set(), builder.get('registry')
    while unknown and registry is not None:
        for child in (registry, *registry.children.values()):
            scope = '' if child is registry else f'{child.scope}.'
            known |= {f'{scope}{one}' for one in child.module_dict}
            known |= {f'{child.scope}.{one}' for one in child.module_dict}
        registry = registry.parent
    near = difflib.get_close_matches(str(name), sorted(known), n=1)
    return text + (f'; did you mean {near[0]!r}?' if near else '')


def describe(error: OSError) -> str:
    """What the system says, with the path that it is about.

    Examples:
        >>> describe(PermissionError(13, 'Permission denied', 'runs/a'))
        "'runs/a': Permission denied"
    """
    path = '' if error.filename is None else f'{str(error.filename)!r}: '
    return f'{path}{error.strerror}'


def leave_with(code: Optional[int]) -> None:
    """Ends a script with an exit code other than 0."""
    if code:
        sys.exit(code)


@contextmanager
def refused_fields_are_user_errors() -> Iterator[None]:
    """For calls from Python: a wrong value in a config is a :class:`UserError` here, too."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        text = refused_field(error)
        if text is None:
            raise
        raise UserError(text) from error


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """For the ``main`` of a script: a :class:`UserError`, a wrong value in a config, or what the
    system refuses (a full disk, no permission) becomes one line and exit code 1, a reader of a pipe
    who has gone 141 without a word, Ctrl-C a word and 130, and :class:`Preempted` exit code 85.
    Messages name options as a shell has them.

    A context and a decorator alike: ``with told_in_one_line(): ...`` or ``@told_in_one_line()``.
    """
    try:
        with in_shell(), refused_fields_are_user_errors():
            yield
    except UserError as error:
        sys.exit(1 if _is_said(str(error)) else f'error: {error}')
    except MemoryError as error:
        sys.exit(f'error: this machine has no memory left ({str(error) or "MemoryError"}): take a '
                 'smaller batch, smaller images or fewer workers')
    except BrokenPipeError:  # who read what is printed has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python ends with more
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno is None:  # of another package, with words of its own
            raise
        text = describe(error)
        sys.exit(1 if _is_said(text) else f'error: {text}')
    except ProcessesFailed as error:  # which have said the rest
        print(f'error: {error}', file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:  # of several processes the starter says it
        if 'EXIT_CODE_FILE' not in os.environ:
            print('\ninterrupted', file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except Preempted:
        for worker in multiprocessing.active_children():  # of loaders
            worker.terminate()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # At once: a process that tidies up for seconds is killed by Slurm.
        os._exit(_tell_starter(PREEMPTED))
