"""Masks of rectangular blocks, as BEiT introduced them and iBOT draws them. Pure functions."""
import math
from typing import Tuple

import torch
from torch import Tensor

ASPECT = (0.3, 1 / 0.3)
ATTEMPTS = 10


def draw_block_mask(grid: Tuple[int, int], wanted: float) -> Tensor:
    """Draws a mask of overlapping blocks.

    Blocks of random area, at least a third of the shorter side squared, of random aspect ratio and
    place are added as long as fewer than ``wanted`` patches are masked, and none that would mask
    more. After ten blocks in a row that do not fit, the mask stays as it is: below ``wanted``.

    Source: Bao et al., "BEiT: BERT Pre-Training of Image Transformers", Algorithm 1; its form in
    the code of Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer".

    Args:
        grid: Rows and columns of patches.
        wanted: Patches to mask at most; need not be whole.

    Returns:
        bool (rows, cols) on the CPU, True = masked. Uses torch's global CPU generator, four numbers
        a block.

    Examples:
        >>> int(draw_block_mask((14, 14), 59.3).sum()) <= 59
        True
    """
    mask = torch.zeros(grid, dtype=torch.bool)
    count = 0
    while count < wanted:
        for _ in range(ATTEMPTS):
            added = _add_block(mask, wanted - count)
            if added:
                break
        else:
            break
        count += added
    return mask


def _add_block(mask: Tensor, most: float) -> int:
    """Tries to add a block of at most ``most`` unmasked patches; returns how many it adds."""
    rows, cols = mask.shape
    area, aspect, down, right = torch.rand(4).tolist()
    least = (min(rows, cols) // 3)**2
    area = least + area * (most - least)
    low, high = map(math.log, ASPECT)
    aspect = math.exp(low + aspect * (high - low))
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if height >= rows or width >= cols:
        return 0
    top, left = int(down * (rows - height + 1)), int(right * (cols - width + 1))
    block = mask[top:top + height, left:left + width]
    added = block.numel() - int(block.sum())
    if not 0 < added <= most:
        return 0
    block.fill_(True)
    return added
