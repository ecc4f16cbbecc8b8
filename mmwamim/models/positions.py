"""Fixed sine-cosine positions for token grids of any shape."""
from typing import Dict, Optional, Tuple

import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding
from torch import Tensor, nn


def sincos_positions(grid: Tuple[int, int], channels: int,
                     device: Optional[torch.device] = None) -> Tensor:
    """2-D sine-cosine position embedding in raster order, as MAE uses it.

    Args:
        grid: Rows and columns of tokens; need not be square.
        channels: Width of a token, a multiple of 4.
        device: Where they are computed; default: torch's default device.

    Returns:
        float32 (1, rows * cols, channels) in [-1, 1], equal to mmpretrain's for square grids.

    Raises:
        ValueError: ``channels`` is not a multiple of 4.
    """
    if channels % 4:
        raise ValueError(f'sine-cosine positions need a width divisible by 4, not {channels}')
    # mmpretrain lays its tokens out column by column, which shows only where the grid is not
    # square: with rows and columns exchanged its order is the raster order.
    rows, cols = grid
    with torch.device(device or torch.get_default_device()):
        return build_2d_sincos_position_embedding((cols, rows), channels)


class SincosPositions(nn.Module):
    """Keeps the positions of the usual grid as a buffer that is no part of checkpoints, and those
    of other grids, once they were made.

    Args:
        channels: Width of a token, a multiple of 4.
        grid: Rows and columns of the usual grid; None: that of the first call.
    """

    def __init__(self, channels: int, grid: Optional[Tuple[int, int]] = None) -> None:
        super().__init__()
        self.channels = channels
        self.grid = grid
        self.register_buffer('table', sincos_positions(grid or (1, 1), channels)[0],
                             persistent=False)
        # No buffers: moving averages and processes share those, one by one.
        self.others: Dict[Tuple[int, int], Tensor] = {}

    def forward(self, grid: Tuple[int, int]) -> Tensor:
        """float32 (rows * cols, channels) on the device of the module, for any grid."""
        if not torch.compiler.is_compiling():  # a compiled step must not change the module
            self.keep(grid)
        return self.table if grid == self.grid else self.others[grid]

    def keep(self, grid: Tuple[int, int]) -> None:
        """Makes the positions of a grid before a compiled step asks for them."""
        known = self.table if grid == self.grid else self.others.get(grid)
        if known is not None and known.device == self.table.device:
            return
        table = sincos_positions(grid, self.channels, self.table.device)[0].to(self.table)
        if self.grid is None:
            self.grid, self.table = grid, table
        else:
            self.others[grid] = table
