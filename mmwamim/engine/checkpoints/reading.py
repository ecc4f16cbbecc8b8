"""Reads checkpoints without running anything that is in them."""
import argparse
import datetime
import errno
import os
import pathlib
import re
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any, Mapping, Optional, Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmwamim.errors import MissingFile, UserError, describe
from mmwamim.interface.words import option

UNBOUNDED = r'(mask|(min|max)_val)$'  # tensors that may rightly hold infinity
TORCH = (b'PK', b'\x80')  # of a zip file, and of a pickle, as before torch 1.6
# What lies under the name of a checkpoint instead, by its first bytes.
KINDS = (
    (rb'\s*<', 'a web page or XML (a download that was answered by a page)'),
    (rb'version https://git-lfs', 'a pointer of Git LFS (git lfs pull fetches the file itself)'),
    (rb'\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|BM|II\*\0|MM\0\*', 'a picture'),
    (rb'.{8}\{"', 'a file of safetensors (with the ending .safetensors it can begin a run)'),
    (rb'\x1f\x8b|BZh|\xfd7zXZ|7z\xbc|.{257}ustar', 'a packed file, to be unpacked first'),
    (rb'\s*[\[{]', 'a JSON file'))
MORE = 'it holds more than data'
# What beside tensors is data as well: what training scripts keep of their options and results.
PLAIN = (argparse.Namespace, types.SimpleNamespace, frozenset, complex, slice, list, dict, tuple,
         int, float, str, bool, datetime.datetime, datetime.date, datetime.time,
         datetime.timedelta, datetime.timezone)
# By their names in a file, where the class is of another version, system or package, or one that
# torch cannot fill.
RENAMED = ((lambda *_: {}, 'collections.defaultdict'), (lambda *_: [], 'collections.deque'),
           *((pathlib.PurePosixPath, f'pathlib{inner}.{name}') for inner in ('', '._local')
             for name in ('PosixPath', 'PurePosixPath')),
           *((pathlib.PureWindowsPath, f'pathlib{inner}.{name}') for inner in ('', '._local')
             for name in ('WindowsPath', 'PureWindowsPath')),
           *((dict, f'{module}.AttributeDict') for module in (
               'lightning.fabric.utilities.data', 'lightning_fabric.utilities.data',
               'lightning.pytorch.utilities.parsing', 'pytorch_lightning.utilities.parsing')))
NUMBERS = '?bhilqBHILQefdgFDSUMm'  # NumPy's kinds but for objects
_STATISTICS = ('min', 'max', 'current', 'mean')


class UnsafeFile(UserError):
    """A file that holds more than data: to load it is to run what is in it."""


def _history_method(owner, name: str):
    """Stands in for ``getattr``, by which a pickled log history names its own statistics."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise ValueError(f'refused: getattr({owner!r}, {name!r}) in a checkpoint')
    return getattr(HistoryBuffer, name)


def damage(path: Union[str, Path]) -> Optional[str]:
    """What is wrong with a checkpoint file, or None: every record's check value is computed."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except zipfile.BadZipFile as error:
        return foreign_kind(path) or str(error)
    except (OSError, EOFError) as error:
        return str(error)
    return None if broken is None else f'its record {broken} does not have its check value'


def read_checkpoint(path: Union[str, Path]) -> dict:
    """Loads a training checkpoint or an exported encoder onto the CPU.

    Only tensors, numbers, containers and MMEngine's log histories are unpickled.

    Raises:
        MissingFile: There is no such file.
        UserError: The file is not a checkpoint of this kind, is damaged, or holds anything else;
            or weights that are NaN or infinite.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UserError(f'a checkpoint is the path of a file, not {path!r}')
    if Path(path).is_dir():
        raise MissingFile(f'{str(path)!r} is a folder: give encoder.pth or epoch_N.pth in it')
    if not Path(path).is_file():
        raise MissingFile(f'there is no checkpoint {str(path)!r}')
    checkpoint = _load(path)
    problem = damage(path) if zipfile.is_zipfile(path) else None  # torch does not look
    if problem is not None:
        raise UserError(f'{str(path)!r} is damaged: {problem}')
    state = checkpoint.get('state_dict') if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or state and not any(
            isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f'{str(path)!r} has no state_dict: give epoch_N.pth or encoder.pth '
                        '(weights of other libraries begin a run, with '
                        f'{option("init")})')
    check_finite_weights(state, path)
    return checkpoint


def check_finite_weights(state: Mapping[str, Any], path: Union[str, Path]) -> None:
    """Checks that weights are numbers: of a run that has diverged, or a damaged file, they are not,
    and all features and losses would be NaN.

    Args:
        state: Tensors by name; whatever else is in it is not looked at.
        path: Of the file, for the message.

    Raises:
        UserError: One holds NaN or infinity; masks may, and bounds of values not seen yet.

    Examples:
        >>> check_finite_weights({'fc.weight': torch.tensor([1., float('nan')])}, 'a.pth')
        Traceback (most recent call last):
        mmwamim.errors.UserError: 'a.pth': 1 of 2 values of 'fc.weight' are NaN or infinite: take \
an earlier checkpoint of the run
    """
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or not (
                value.is_floating_point() or value.is_complex()) or re.search(UNBOUNDED, str(name)):
            continue
        bad = int((~value.detach().isfinite()).sum()) if value.element_size() > 1 else 0
        if bad:
            raise UserError(f'{str(path)!r}: {bad} of {value.numel()} values of {name!r} are NaN '
                            'or infinite: take an earlier checkpoint of the run')


def read_header(path: Union[str, Path]) -> dict:
    """A checkpoint whose tensors stay on the disk until they are looked at: for its numbers.

    Raises:
        UserError: As :func:`read_checkpoint`; the file may hold anything else than a state_dict.
    """
    header = _load(path, mmap=True)
    return header if isinstance(header, dict) else {}


def _load(path: Union[str, Path], **options):
    numbers = {type(np.dtype(kind)) for kind in NUMBERS}
    allowed = [HistoryBuffer, (_history_method, 'builtins.getattr'), np.ndarray, np.dtype,
               np._core.multiarray._reconstruct, np._core.multiarray.scalar, *numbers, *PLAIN,
               *RENAMED]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='.*TorchScript')  # is an error here
            return torch.load(path, map_location='cpu', weights_only=True, **options)
    except Exception as error:
        reason = _reason(path, error)
        raise (UnsafeFile if reason.startswith(MORE) else UserError)(
            f'{str(path)!r} cannot be read as a checkpoint: {reason}') from error


def _reason(path: Union[str, Path], error: Exception) -> str:
    """Why torch could not load a file, without its advice to run what is in it."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:  # as of a part of a zip file
        return describe(error)
    foreign = foreign_kind(path)
    if foreign is not None:
        return foreign
    if 'TorchScript' in str(error):
        return 'it is a program of TorchScript: save the state_dict of its model'
    # torch goes on with how to allow what it names
    found = re.search(r'GLOBAL \S+', str(error)) or re.search(
        r'Unsupported (?:global|class|operand).*?(?=\n|$)|refused: .*', str(error)) or re.search(
        r'(?<=but got )<class .*?>', str(error))
    if found:
        return f'{MORE} ({found[0].strip()[:200]}): save the state_dict alone'
    if not zipfile.is_zipfile(path):
        return 'it is no file that torch.save has written, or only a part of one'
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def foreign_kind(path: Union[str, Path]) -> Optional[str]:
    """What a file is that torch.save has not written, by its first bytes: a saved web page, a
    picture. To torch these are programs of unknown instructions, which is no word for a user.

    Returns:
        A part of a sentence; None for files that torch may have written.
    """
    with open(path, 'rb') as file:
        head = file.read(512)
    if not head:
        return 'it is empty'
    if head.startswith(TORCH):
        return None
    kind = next((kind for start, kind in KINDS if re.match(start, head, re.DOTALL)), None)
    return f'it is {kind}, no checkpoint' if kind else \
        'it is no file that torch.save has written, or only a part of one'


def check_safe(path: str, place: str) -> None:
    """Raises unless a file of weights, of any layout, can be loaded without running anything.

    Args:
        path: The file.
        place: The field of the config that names it, for the message.

    Raises:
        MissingFile: There is no such file; an address is not a file.
        UserError: The file holds more than data, or weights that are NaN or infinite.
    """
    if not Path(path).is_file():
        raise MissingFile(f'{place}.checkpoint: there is no file {path!r}'
                          + ('; download it first' if '://' in path else ''))
    try:
        found = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        reason = _reason(path, error)
        raise (UnsafeFile if reason.startswith(MORE) else UserError)(
            f'{place}.checkpoint: {path!r} cannot be read safely: {reason}') from error
    for state in (found, found.get('state_dict')) if isinstance(found, dict) else ():
        if isinstance(state, dict):
            check_finite_weights(state, path)
