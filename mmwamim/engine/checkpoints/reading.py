"""Reads checkpoints without running anything that is in them."""
from pathlib import Path
from typing import Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmwamim.errors import MissingFile, UserError

_STATISTICS = ('min', 'max', 'current', 'mean')


def _history_method(owner, name: str):
    """Stands in for ``getattr``, by which a pickled log history names its own statistics."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise ValueError(f'refused: getattr({owner!r}, {name!r}) in a checkpoint')
    return getattr(HistoryBuffer, name)


def read_checkpoint(path: Union[str, Path]) -> dict:
    """Loads a training checkpoint or an exported encoder onto the CPU.

    Only tensors, numbers, containers and MMEngine's log histories are unpickled.

    Raises:
        MissingFile: There is no such file.
        UserError: The file is not a checkpoint of this kind, or holds anything else.
    """
    if not Path(path).is_file():
        raise MissingFile(f'there is no checkpoint {str(path)!r}')
    checkpoint = _load(path)
    if not isinstance(checkpoint, dict) or 'state_dict' not in checkpoint:
        raise UserError(f'{str(path)!r} has no state_dict: give epoch_N.pth or encoder.pth')
    return checkpoint


def read_header(path: Union[str, Path]) -> dict:
    """A checkpoint whose tensors stay on the disk until they are looked at: for its numbers.

    Raises:
        UserError: As :func:`read_checkpoint`; the file may hold anything else than a state_dict.
    """
    header = _load(path, mmap=True)
    return header if isinstance(header, dict) else {}


def _load(path: Union[str, Path], **options):
    numbers = [type(np.dtype(kind)) for kind in ('f8', 'f4', 'i8', 'i4')]
    allowed = [HistoryBuffer, (_history_method, 'builtins.getattr'), np.ndarray, np.dtype,
               np._core.multiarray._reconstruct, np._core.multiarray.scalar, *numbers]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location='cpu', weights_only=True, **options)
    except Exception as error:
        raise UserError(f'{str(path)!r} cannot be read as a checkpoint: {error}') from error


def check_safe(path: str, place: str) -> None:
    """Raises unless a file of weights, of any layout, can be loaded without running anything.

    Args:
        path: The file.
        place: The field of the config that names it, for the message.

    Raises:
        MissingFile: There is no such file; an address is not a file.
        UserError: The file holds more than data.
    """
    if not Path(path).is_file():
        raise MissingFile(f'{place}.checkpoint: there is no file {path!r}'
                          + ('; download it first' if '://' in path else ''))
    try:
        torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UserError(f'{place}.checkpoint: {path!r} cannot be read safely: {error}') from error
