"""Fixed sine-cosine positions for token grids of any shape."""
from functools import lru_cache
from typing import Tuple

from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor


@lru_cache(maxsize=64)
def sincos_positions(grid: Tuple[int, int], channels: int) -> Tensor:
    """2-D sine-cosine position embedding in raster order, as MAE uses it.

    Args:
        grid: Rows and columns of tokens; need not be square.
        channels: Width of a token, a multiple of 4.

    Returns:
        float32 (1, rows * cols, channels) in [-1, 1], equal to mmpretrain's for square grids.
        Shared: do not write into it.

    Raises:
        ValueError: ``channels`` is not a multiple of 4.
    """
    if channels % 4:
        raise ValueError(f'sine-cosine positions need a width divisible by 4, not {channels}')
    # mmpretrain lays its tokens out column by column, which shows only where the grid is not
    # square: with rows and columns exchanged its order is the raster order.
    rows, cols = grid
    return build_2d_sincos_position_embedding((cols, rows), channels)
