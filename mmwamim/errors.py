"""The one exception for what a user can put right: a config, an option, data, a checkpoint."""
import sys
from contextlib import contextmanager
from typing import Iterator


class UserError(ValueError):
    """Something that was given is wrong; the message names it and says what would be right.

    Library code raises this (or lets a ``ValueError`` of a single class pass) and never ends the
    interpreter, so a notebook or a foreign tool can catch it with ``except Exception``.
    """


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """For the ``main`` of a script: a :class:`UserError` becomes one line and exit code 1.

    A context and a decorator alike: ``with told_in_one_line(): ...`` or ``@told_in_one_line()``.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f'error: {error}')
