import math

import pytest
import torch
from mmpretrain.models.utils import build_2d_sincos_position_embedding

from mmwamim.models.positions import sincos_positions


def test_square_grids_are_mmpretrains():
    assert torch.equal(sincos_positions((14, 14), 64), build_2d_sincos_position_embedding(14, 64))


def test_rectangular_grids_are_in_raster_order():
    rows, cols, width = 3, 5, 16
    positions = sincos_positions((rows, cols), width)[0]
    for r in range(rows):
        for c in range(cols):
            expected = []
            for value in (r, c):
                angles = [value / 10000**(k / (width // 4)) for k in range(width // 4)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            torch.testing.assert_close(positions[r * cols + c], torch.tensor(expected),
                                       rtol=0, atol=1e-6)


def test_width_must_divide():
    with pytest.raises(ValueError, match='divisible by 4, not 6'):
        sincos_positions((2, 2), 6)
