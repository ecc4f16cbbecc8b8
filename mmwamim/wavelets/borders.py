"""How a signal goes on beyond its borders: PyWavelets' extension modes, by slices alone.

Nothing is looked up in a table or a matrix, so borders are differentiable as often as wanted, are
made on the signal's own device, and compilers see through them.
"""
from typing import List

import torch
from torch import Tensor


def extend(x: Tensor, left: int, right: int, mode: str, dim: int) -> Tensor:
    """Continues a signal beyond both of its ends.

    Args:
        x: Any shape, at least one value along ``dim``.
        left, right: How many values are added before the first and after the last; may be more
            than the signal has.
        mode: One of PyWavelets' modes but 'periodization', which is 'periodic' of an even signal.
        dim: The axis, counted from the end: -1, -2, ...

    Returns:
        ``x`` with ``left + right`` more values along ``dim``.

    Raises:
        ValueError: A single value is to be reflected; PyWavelets refuses that too.

    Examples:
        >>> extend(torch.tensor([1., 2., 4.]), 2, 2, 'antireflect', -1)
        tensor([-2.,  0.,  1.,  2.,  4.,  6.,  7.])
    """
    if x.shape[dim] == 1 and mode in ('reflect', 'antireflect'):
        raise ValueError(f'mode {mode!r} needs at least 2 values along each axis: one alone has '
                         f'nothing to reflect')
    if mode == 'zero':
        return torch.nn.functional.pad(x, (0, 0) * (-1 - dim) + (left, right))
    # Every mode is its own mirror image: what lies before the first value is what lies behind the
    # last one of the signal turned round.
    before = [_beyond(x.flip(dim), left, mode, dim).flip(dim)] if left else []
    behind = [_beyond(x, right, mode, dim)] if right else []
    return torch.cat([*before, x, *behind], dim) if left or right else x


def _beyond(x: Tensor, count: int, mode: str, dim: int) -> Tensor:
    """The ``count`` values behind the last one."""
    last = x.narrow(dim, x.shape[dim] - 1, 1)
    if mode == 'constant' or (mode == 'smooth' and x.shape[dim] == 1):
        return last.expand(*last.shape[:dim], count, *last.shape[dim:][1:])
    if mode == 'smooth':  # along the line through the last two
        steps = torch.arange(1, count + 1, dtype=x.dtype, device=x.device)
        slope = last - x.narrow(dim, x.shape[dim] - 2, 1)
        return last + slope * steps.view(-1, *[1] * (-1 - dim))
    blocks: List[Tensor] = []
    while count > 0:
        block = _block(x, len(blocks), count, mode, dim)
        blocks.append(block)
        count -= block.shape[dim]
    return torch.cat(blocks, dim)


def _block(x: Tensor, number: int, count: int, mode: str, dim: int) -> Tensor:
    """Of the copies of the signal that stand in a row behind it, at most ``count`` values of the
    one with this number."""
    skip = 1 if 'reflect' in mode else 0  # the value at the border is not repeated
    size = x.shape[dim]
    count = min(count, size - skip)
    turned = mode != 'periodic' and number % 2 == 0
    if turned:
        block = x.narrow(dim, size - skip - count, count).flip(dim)
    else:
        block = x.narrow(dim, skip, count)
    if mode == 'antisymmetric' and turned:
        return -block
    if mode == 'antireflect':
        first, last = x.narrow(dim, 0, 1), x.narrow(dim, size - 1, 1)
        # Two copies on, everything has risen by twice what the signal rises.
        if turned:
            return 2 * last + number * (last - first) - block
        return block + (number + 1) * (last - first)
    return block
