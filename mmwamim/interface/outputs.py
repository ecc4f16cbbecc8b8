"""Where results go, looked at before the work that they come from, and told after it."""
import errno
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional, Union

from mmwamim.errors import UserError
from mmwamim.interface.words import option


def check_output_folder(path: Union[str, Path], name: Optional[str] = None) -> None:
    """Makes a folder for results, and sees that files can be written there.

    Args:
        path: The folder.
        name: What the message calls it. Default: the option ``out``.

    Raises:
        UserError: It is a file, or cannot be made or written to.
    """
    path, name = Path(path), name or option('out')
    if path.exists() and not path.is_dir():
        raise UserError(f'{name}: {str(path)!r} is a file: give a folder')
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f'{name}: cannot write to the folder {str(path)!r}: {error.strerror}; '
                        'give another one') from error


def check_output_file(path: Union[str, Path], name: Optional[str] = None,
                      source: Union[str, Path, None] = None) -> None:
    """Makes the folder of a file for results, and sees that the file can be written.

    Args:
        path: The file; one that is there is left as it is.
        name: What the message calls it. Default: the option ``out``.
        source: The file that the results are made from.

    Raises:
        UserError: It is a folder, or the source itself, or cannot be written.
    """
    path, name = Path(path), name or option('out')
    if source is not None and path.exists() and path.samefile(source):
        raise UserError(f'{name}: {str(path)!r} is what is read, and would be lost: give another '
                        'file')
    if path.is_dir():
        raise UserError(f'{name}: {str(path)!r} is a folder: give a file')
    check_output_folder(path.parent, name)
    if path.exists() and not os.access(path, os.W_OK):
        raise UserError(f'{name}: cannot write to the file {str(path)!r}: give another one')


def at_home(given: Any) -> Any:
    """A path with the home folder for ``~``, as a shell hands it over, or a list of them; what is
    no path stays as it is.

    Examples:
        >>> at_home('photos'), at_home(3), at_home(['~/a'])[0].endswith('/a')
        ('photos', 3, True)
    """
    if isinstance(given, (str, Path)):
        return type(given)(os.path.expanduser(given))
    return type(given)(map(at_home, given)) if type(given) in (list, tuple) else given


@contextmanager
def full_disk_is_named(folder: Union[str, Path]) -> Iterator[None]:
    """Where the system says of no file that its disk is full, as it does of one that is open, the
    error gets the folder that is written to.

    Examples:
        >>> with full_disk_is_named('runs/a'):
        ...     raise OSError(errno.ENOSPC, 'No space left on device')
        Traceback (most recent call last):
        OSError: [Errno 28] No space left on device: 'runs/a'
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror, str(folder)) from error
        raise
