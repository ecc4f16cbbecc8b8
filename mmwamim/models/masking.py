"""Masks: draw, index, rescale. Pure functions.

One convention everywhere: a mask is a bool tensor (B or 1, rows, cols) of mask units, True means
masked. Masks are drawn and turned into indices on the CPU, where counting and indexing cost
nothing, and only the results are copied to the accelerator (:func:`to_device`): no step ever
waits to read something back.
"""
import math
from typing import Tuple

import torch
from torch import Tensor


def count_visible(units: int, ratio: float) -> int:
    """Number of visible units, floor(units * (1 - ratio)), the same for every image.

    Raises:
        ValueError: ``ratio`` lies outside (0, 1), or leaves nothing visible.
    """
    if not 0 < ratio < 1:
        raise ValueError(f'mask_ratio must lie between 0 and 1, both excluded, not {ratio}')
    # 10 * (1 - 0.9) is 0.9999999999999998 in floating point, and 1 in truth.
    visible = math.floor(units * (1 - ratio) + 1e-9)
    if visible == 0:
        raise ValueError(f'mask_ratio {ratio} leaves none of the {units} units visible: lower '
                         'mask_ratio, or use smaller mask units or larger images')
    return visible


def draw_mask(batch: int, grid: Tuple[int, int], ratio: float) -> Tensor:
    """Draws a uniformly random mask per image, all with the same number of masked units.

    Uses torch's global CPU generator, which MMEngine seeds for each process.

    Args:
        batch: Number of masks; 1 for one that a whole batch shares.
        grid: Rows and columns of mask units.
        ratio: Share of masked units, in (0, 1).

    Returns:
        bool (batch, rows, cols) on the CPU, True = masked.

    Raises:
        ValueError: As :func:`count_visible`.
    """
    rows, cols = grid
    visible = count_visible(rows * cols, ratio)
    order = torch.rand(batch, rows * cols).argsort(dim=1)
    mask = torch.ones(batch, rows * cols, dtype=torch.bool)
    mask.scatter_(1, order[:, :visible], False)
    return mask.view(batch, rows, cols)


def visible_indices(mask: Tensor) -> Tensor:
    """Positions of the visible units in raster order.

    Args:
        mask: bool (B, rows, cols).

    Returns:
        int64 (B, visible) on the CPU.

    Raises:
        ValueError: The images have different numbers of visible units.
    """
    visible = ~mask.cpu().flatten(1)
    counts = visible.sum(1)
    if (counts != counts[0]).any():
        raise ValueError('every image of a batch must have the same number of visible units, but '
                         f'mask has {sorted(set(counts.tolist()))}')
    return visible.nonzero()[:, 1].view(mask.shape[0], -1)


def rescale_mask(mask: Tensor, grid: Tuple[int, int]) -> Tensor:
    """Brings a mask to another grid: repeated up, area-averaged down.

    Args:
        mask: bool (B or 1, rows, cols).
        grid: Rows and columns of the target.

    Returns:
        float32 (B or 1, *grid) in [0, 1]: the masked share of each cell, the loss's weight.

    Raises:
        ValueError: The two grids do not divide each other.
    """
    weights = mask.float()
    for dim, size in ((1, grid[0]), (2, grid[1])):
        units = weights.shape[dim]
        if size % units == 0:
            weights = weights.repeat_interleave(size // units, dim)
        elif units % size == 0:
            weights = weights.unflatten(dim, (size, units // size)).mean(dim + 1)
        else:
            raise ValueError(f'a mask of {units} units cannot be rescaled to {size} target cells: '
                             'one must be a multiple of the other')
    return weights


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copies a small CPU tensor over without making the host wait for the accelerator."""
    if device.type == 'cuda' and tensor.device.type == 'cpu':
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
