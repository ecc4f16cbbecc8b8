"""Words for what is printed."""
import shlex
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Iterator

_IN_SHELL = ContextVar('in_shell', default=False)


@contextmanager
def in_shell(really: bool = True) -> Iterator[None]:
    """Inside it :func:`option` has the words of a command line."""
    before = _IN_SHELL.set(really)
    try:
        yield
    finally:
        _IN_SHELL.reset(before)


def is_in_shell() -> bool:
    """Whether what is printed is read in a shell: a command was called there."""
    return _IN_SHELL.get()


def option(name: str, value: object = None) -> str:
    """An argument as whoever gave it has written it: in a call from Python, or in a shell.

    Examples:
        >>> option('batch_size'), option('gpus', 2), option('resume', True)
        ('batch_size', 'gpus=2', 'resume=True')
        >>> with in_shell():
        ...     option('batch_size'), option('images', 'my photos'), option('resume', True)
        ('--batch-size', "--images 'my photos'", '--resume')
    """
    if is_in_shell():
        return f'--{name.replace("_", "-")}' + (
            '' if value in (None, True) else f' {shlex.quote(str(value))}')
    return name if value is None else f'{name}={value!r}'


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not 1.

    Examples:
        >>> counted(1, 'image'), counted(2, 'process'), counted(1000, 'step'), counted(3, 'epoch')
        ('1 image', '2 processes', '1,000 steps', '3 epochs')
    """
    hisses = noun.endswith(('s', 'sh', 'ch')) and noun != 'epoch'
    ending = '' if number == 1 else 'es' if hisses else 's'
    return f'{number:,} {noun}{ending}'
