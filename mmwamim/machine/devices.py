"""The device that is asked for, before anything is put there."""
from typing import Union

import torch

from mmwamim.errors import UserError

Device = Union[str, int, torch.device, None]  # None: a GPU if there is one


def best_device() -> str:
    """A GPU if there is one."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def check_device(device: Device) -> torch.device:
    """A device of this machine by its name; of None a GPU if there is one.

    Raises:
        UserError: There is no such device, or not here.

    Examples:
        >>> check_device('cpu')
        device(type='cpu')
    """
    if device is None:
        device = best_device()
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise UserError(f'there is no device {device!r}: give cpu, cuda, cuda:1, ...') from None
    if found.type == 'meta':
        raise UserError("device 'meta' has no values: give cpu, cuda, cuda:1, ...")
    if found.type == 'cuda' and (found.index or 0) >= torch.cuda.device_count():
        raise UserError(f'device {device!r}: this machine has {torch.cuda.device_count()} GPUs '
                        'that torch can use; "mmwamim doctor" says more')
    try:
        torch.empty(0, device=found)
    except (RuntimeError, NotImplementedError, AssertionError):  # torch was built without it
        raise UserError(f'device {device!r}: torch has no such device here: give cpu, cuda, '
                        'cuda:1, ...') from None
    return found
