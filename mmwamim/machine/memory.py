"""How much memory a run may take."""
import os
from pathlib import Path
from typing import Callable, Iterator

import torch
from torch import Tensor, nn

from .cores import cgroups

MEMINFO = Path('/proc/meminfo')


def free_memory(meminfo: Path = MEMINFO, cgroup: Path = Path('/sys/fs/cgroup'),
                membership: Path = Path('/proc/self/cgroup')) -> int:
    """Bytes of main memory that this process may still take.

    What the machine has left, or what the limit of a container or job leaves, if that is less.

    Args:
        meminfo: The system's own account (Linux).
        cgroup: Where limits are mounted.
        membership: The file that says which groups this process is in.
    """
    try:
        lines = dict(line.split(':') for line in meminfo.read_text().splitlines())
        available = int(lines['MemAvailable'].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        available = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2
    return max(min([available, *_left(cgroup, membership)]), 0)


def _left(cgroup: Path, membership: Path) -> Iterator[int]:
    for folder in cgroups(cgroup, membership):
        for limit, used in (('memory.max', 'memory.current'),
                            ('memory.limit_in_bytes', 'memory.usage_in_bytes')):
            try:
                most, now = (int((folder / name).read_text()) for name in (limit, used))
                # Files that were read are counted, and given up when memory is asked for.
                stat = dict(line.split() for line in
                            (folder / 'memory.stat').read_text().splitlines())
                yield most - now + int(stat.get('inactive_file', 0))
            except (OSError, ValueError):  # not there, or 'max'
                continue


def saved_for_backward(forward: Callable[[], Tensor], model: nn.Module) -> int:
    """Bytes that a forward pass keeps for its backward pass, on any device.

    Args:
        forward: Gives the loss.
        model: Whose parameters and buffers are there anyway, and are not counted.

    Examples:
        >>> layer = nn.Linear(4, 8, bias=False)
        >>> saved_for_backward(lambda: layer(torch.zeros(2, 4)).sum(), layer)  # its input
        32
    """
    own = {value.untyped_storage().data_ptr()
           for value in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()
    total = sum(kept.values())
    del loss
    return total
