"""Lines for a shell that are valid where the user stands."""
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Union


def command_line(*words: object) -> str:
    r"""``mmwamim ...``, if the shell finds the command of this Python, otherwise by its module.

    Examples:
        >>> command_line('show', "it's")[-15:]
        'show \'it\'"\'"\'s\''
    """
    found = shutil.which('mmwamim')
    ours = found is not None and Path(found).parent == Path(sys.executable).parent
    start = ['mmwamim'] if ours else [sys.executable, '-m', 'mmwamim']
    return shlex.join([*start, *map(str, words)])


def short_path(path: Union[str, Path]) -> Path:
    """A path from here, if it lies below the current directory."""
    path = Path(path)
    return Path(os.path.relpath(path)) if path.is_relative_to(Path.cwd()) else path
