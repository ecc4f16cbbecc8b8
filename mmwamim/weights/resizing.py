"""Parameters of an encoder for another image, patch or window size, or number of channels."""
import math
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def _bicubic(grid: Tensor, size: Tuple[int, int]) -> Tensor:
    return F.interpolate(grid.float(), size=size, mode='bicubic', antialias=True,
                         align_corners=False).to(grid.dtype)


def resize_positions(positions: Tensor, grid: Tuple[int, int], extra: int,
                     known: Optional[Tuple[int, int]] = None) -> Tensor:
    """Positions (1, there + N, C) of a grid for another one, bicubic.

    Args:
        positions: Learnt or fixed; those of extra tokens ahead.
        grid: Rows and columns that are wanted.
        extra: Tokens ahead that are wanted, 0 or 1; a missing position is zero.
        known: Rows and columns there. Default: those of a square.

    Returns:
        (1, extra + rows * columns, C).

    Raises:
        ValueError: The grid there is not known, and not square.
    """
    count = positions.shape[1]
    squares = ((math.isqrt(count - ahead), ) * 2 for ahead in (extra, 1 - extra))
    # of a file that says nothing the same oblong one, where it has as many
    candidates = [one for one in (known, *squares, tuple(grid))
                  if one is not None and count - math.prod(one) in (0, 1)]
    if not candidates:
        raise ValueError(f'{count} positions are no square grid')
    old = tuple(candidates[0])
    there = count - math.prod(old)
    ahead, patches = positions[:, :there], positions[:, there:]
    if old != tuple(grid):
        patches = patches.unflatten(1, old).permute(0, 3, 1, 2)
        patches = _bicubic(patches, tuple(grid)).flatten(2).transpose(1, 2)
    if extra > there:
        ahead = torch.zeros_like(positions[:, :1])
    return torch.cat([ahead[:, :extra], patches], dim=1)


def resize_patches(weight: Tensor, size: Tuple[int, int]) -> Tensor:
    """The kernel (D, C, h, w) of a patch embedding for patches of another size: the one whose
    tokens of resized patches are nearest to the old ones (Beyer et al., "FlexiViT")."""
    old = tuple(weight.shape[2:])
    basis = torch.eye(math.prod(old), dtype=torch.float32).view(-1, 1, *old)
    enlarge = _bicubic(basis, tuple(size)).flatten(1)  # (h w, H W): a row for each old pixel
    return (weight.flatten(2).float() @ torch.linalg.pinv(enlarge).T).unflatten(
        2, tuple(size)).to(weight.dtype)


def change_channels(weight: Tensor, channels: int) -> Tensor:
    """The kernel (D, C, h, w) for images of another number of channels: one channel takes the sum,
    so that grey gives what it gave as colours; more take those there are in turn, scaled so that
    the response to equal channels stays."""
    there = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    in_turn = weight[:, torch.arange(channels) % there]
    return in_turn * (there / channels)


def resize_relative(table: Tensor, rows: int) -> Tensor:
    """A table ((2 w - 1)**2, heads) of relative positions for another window, bicubic."""
    old, new = math.isqrt(table.shape[0]), math.isqrt(rows)
    grid = table.T.reshape(1, -1, old, old)
    return _bicubic(grid, (new, new)).flatten(2)[0].T.contiguous()
