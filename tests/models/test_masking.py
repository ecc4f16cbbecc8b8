import pytest
import torch

from mmwamim.models.masking import (
    count_visible,
    draw_mask,
    rescale_mask,
    to_device,
    visible_indices,
)
from tests.helpers import loop_rescale


@pytest.mark.parametrize('units, ratio, visible', [(196, 0.75, 49), (49, 0.75, 12), (10, 0.9, 1),
                                                   (196, 0.4, 117), (196, 0.9, 19),
                                                   (100, 0.7, 30), (20, 0.95, 1)])
def test_number_of_visible_units(units, ratio, visible):
    assert count_visible(units, ratio) == visible
    assert (~draw_mask(3, (1, units), ratio)).sum(dim=(1, 2)).tolist() == [visible] * 3


@pytest.mark.parametrize('ratio', [0, 1, -0.1, 1.5])
def test_ratio_outside_0_and_1(ratio):
    with pytest.raises(ValueError, match=f'mask_ratio .* not {ratio}'):
        count_visible(196, ratio)


def test_nothing_left_visible():
    with pytest.raises(ValueError, match='none of the 4 units visible'):
        draw_mask(1, (2, 2), 0.9)


def test_a_mask_is_bool_on_its_grid():
    mask = draw_mask(2, (3, 5), 0.6)
    assert mask.dtype == torch.bool and mask.shape == (2, 3, 5) and mask.device.type == 'cpu'


def test_every_unit_is_masked_equally_often_and_images_differ():
    torch.manual_seed(0)
    masks = draw_mask(4000, (4, 4), 0.75)
    assert (masks.float().mean(0) - 0.75).abs().max() < 0.04  # 5.8 standard deviations
    pairs = masks.flatten(1).float().T @ masks.flatten(1).float() / 4000
    pairs.fill_diagonal_(12 / 16 * 11 / 15)
    assert (pairs - 12 / 16 * 11 / 15).abs().max() < 0.045
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > 1000


def test_the_global_seed_decides():
    torch.manual_seed(3)
    first, second = draw_mask(2, (6, 6), 0.5), draw_mask(2, (6, 6), 0.5)
    torch.manual_seed(3)
    assert torch.equal(draw_mask(2, (6, 6), 0.5), first)
    assert not torch.equal(first, second)


def test_visible_indices_are_in_raster_order():
    mask = torch.tensor([[[1, 0, 1], [0, 1, 1]], [[1, 1, 1], [0, 1, 0]]]).bool()
    assert visible_indices(mask).tolist() == [[1, 3], [3, 5]]
    mask = draw_mask(5, (6, 7), 0.6)
    for indices, hidden in zip(visible_indices(mask).tolist(), mask, strict=True):
        assert indices == [r * 7 + c for r in range(6) for c in range(7) if not hidden[r, c]]


def test_different_numbers_of_visible_units_are_refused():
    with pytest.raises(ValueError, match=r'same number of visible units.*\[1, 2\]'):
        visible_indices(torch.tensor([[[True, False]], [[False, False]]]))


def test_rescaled_mask_by_hand():
    mask = torch.tensor([[[1, 0], [1, 1]]]).bool()
    assert rescale_mask(mask, (4, 4))[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1] * 4, [1] * 4]
    assert rescale_mask(mask, (2, 2)).tolist() == [[[1, 0], [1, 1]]]
    assert rescale_mask(mask, (1, 1)).tolist() == [[[0.75]]]
    assert rescale_mask(mask, (2, 1)).tolist() == [[[0.5], [1.0]]]
    assert rescale_mask(mask, (1, 4)).tolist() == [[[1, 1, 0.5, 0.5]]]


def test_a_half_visible_block_weighs_a_half():
    mask = torch.zeros(1, 14, 14).bool()
    mask[0, 0, :2] = True
    weights = rescale_mask(mask, (7, 7))
    assert weights[0, 0, 0] == 0.5 and weights.sum() == 0.5


@pytest.mark.parametrize('grid', [(4, 6), (2, 3), (8, 12), (1, 1), (2, 12), (12, 2)])
def test_rescaled_mask_against_counting(grid):
    mask = draw_mask(3, (4, 6), 0.6)
    weights = rescale_mask(mask, grid)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, loop_rescale(mask, grid), rtol=0, atol=1e-6)
    torch.testing.assert_close(weights.mean((1, 2)), mask.float().mean((1, 2)))


@pytest.mark.parametrize('grid, message', [((9, 14), '14 units cannot be rescaled to 9'),
                                           ((14, 21), '14 units cannot be rescaled to 21')])
def test_grids_that_do_not_divide(grid, message):
    with pytest.raises(ValueError, match=message):
        rescale_mask(torch.ones(1, 14, 14).bool(), grid)


def test_to_device_keeps_values():
    x = torch.arange(3)
    assert torch.equal(to_device(x, torch.device('cpu')), x)
