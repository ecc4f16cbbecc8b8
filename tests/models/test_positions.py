import pytest
import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding

from mmwamim.models.positions import sincos_positions
from tests.support.references import loop_positions


@pytest.mark.parametrize('side, channels', [(14, 64), (7, 128), (1, 8), (28, 4)])
def test_square_grids_are_mmpretrains(side, channels):
    expected = build_2d_sincos_position_embedding(side, channels)
    assert torch.equal(sincos_positions((side, side), channels), expected)


@pytest.mark.parametrize('grid', [(3, 5), (5, 3), (1, 4), (10, 14), (6, 6)])
def test_any_grid_is_in_raster_order(grid):
    positions = sincos_positions(grid, 16)
    assert positions.dtype == torch.float32
    torch.testing.assert_close(positions, loop_positions(grid, 16)[None], rtol=0, atol=2e-6)


def test_width_must_divide():
    with pytest.raises(ValueError, match='divisible by 4, not 6'):
        sincos_positions((2, 2), 6)
