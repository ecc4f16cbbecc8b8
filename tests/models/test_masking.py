import pytest
import torch

from mmwamim.models.masking import (
    MaskPlan,
    as_plan,
    count_visible,
    draw_mask,
    mask_of_noise,
    rescale_mask,
    upload,
)
from tests.support.references import loop_rescale


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


def test_equal_values_are_masked_in_the_same_order_everywhere():
    noise = torch.tensor([[[0.5, 0.1], [0.5, 0.5]]])
    assert mask_of_noise(noise, 2).tolist() == [[[False, False], [True, True]]]


def test_a_plan_by_hand():
    mask = torch.tensor([[[1, 0, 1], [0, 1, 1]], [[1, 1, 1], [0, 1, 0]]]).bool()
    plan = MaskPlan.from_mask(mask)
    assert plan.mask is mask and plan.grid == (2, 3) and plan.num_visible == 2
    assert plan.order.tolist() == [[1, 3, 0, 2, 4, 5], [3, 5, 0, 1, 2, 4]]
    assert plan.inverse.tolist() == [[2, 0, 3, 1, 4, 5], [2, 3, 4, 0, 5, 1]]
    assert plan.visible.tolist() == [[1, 3], [3, 5]]
    assert plan.masked.tolist() == [[0, 2, 4, 5], [0, 1, 2, 4]]


@pytest.mark.parametrize('batch, times', [(5, 1), (1, 2), (3, 4)])
def test_a_plan_against_counting(batch, times):
    mask = draw_mask(batch, (6, 7), 0.6)
    plan = MaskPlan.from_mask(mask).refine(times)
    cols = 7 * times
    assert plan.grid == (6 * times, cols) and plan.num_visible == 16 * times**2
    for order, inverse, hidden in zip(plan.order.tolist(), plan.inverse.tolist(), mask,
                                      strict=True):
        places = [(r, c) for r in range(6 * times) for c in range(cols)]
        expected = [r * cols + c for wanted in (False, True) for r, c in places
                    if bool(hidden[r // times, c // times]) is wanted]
        assert order == expected
        assert [order[place] for place in inverse] == list(range(len(places)))


def test_a_plan_is_immutable():
    with pytest.raises(AttributeError):
        MaskPlan.from_mask(draw_mask(1, (2, 2), 0.5)).num_visible = 3


def test_a_bool_mask_becomes_a_plan_and_a_plan_stays_one():
    mask = draw_mask(2, (3, 4), 0.5)
    plan = as_plan(mask, torch.device('cpu'))
    assert plan.mask is mask and as_plan(plan, torch.device('cpu')) is plan


@pytest.mark.parametrize('mask, message', [
    (torch.tensor([[[True, False]], [[False, False]]]), r'same number of visible units.*\[1, 2\]'),
    (torch.ones(2, 2).bool(), r'bool \(B or 1, rows, cols\), not torch.bool \(2, 2\)'),
    (torch.ones(1, 2, 2), 'not torch.float32'),
])
def test_masks_that_cannot_be_planned(mask, message):
    with pytest.raises(ValueError, match=message):
        MaskPlan.from_mask(mask)


@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('grid', [(4, 6), (2, 3), (8, 12), (1, 1)])
def test_shares_sum_to_one_over_the_batch(grid, shared):
    mask = draw_mask(1 if shared else 3, (4, 6), 0.6)
    shares = MaskPlan.from_mask(mask).shares(grid, batch=3).expand(3, -1, -1)
    expected = loop_rescale(mask, grid).expand(3, -1, -1)
    torch.testing.assert_close(shares, expected / expected.sum(), rtol=0, atol=1e-7)


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


def test_upload_copies_nested_tensors_at_once():
    """To the meta device, since there is no other; on the CPU nothing is copied."""
    tree = (torch.arange(6).view(2, 3), (None, torch.arange(2)), 7)
    assert upload(tree, torch.device('cpu')) is tree
    first, (nothing, second), number = upload(tree, torch.device('meta'))
    assert first.shape == (2, 3) and second.shape == (2, ) and (nothing, number) == (None, 7)
    assert first.is_meta and first.untyped_storage()._cdata == second.untyped_storage()._cdata
