import pytest
import torch

from mmwamim.models.masking import (count_visible, draw_mask, rescale_mask, scatter_visible,
                                    visible_indices)


@pytest.mark.parametrize('units, ratio, visible', [(196, 0.75, 49), (49, 0.75, 12), (10, 0.9, 1),
                                                   (196, 0.4, 117), (196, 0.9, 19)])
def test_number_of_visible_units(units, ratio, visible):
    assert count_visible(units, ratio) == visible
    assert (~draw_mask(3, (1, units), ratio)).sum(dim=(1, 2)).tolist() == [visible] * 3


@pytest.mark.parametrize('ratio', [0, 1, -0.1, 1.5])
def test_ratio_outside_0_and_1(ratio):
    with pytest.raises(ValueError, match='mask_ratio'):
        count_visible(196, ratio)


def test_nothing_left_visible():
    with pytest.raises(ValueError, match='none of the 4 units visible'):
        draw_mask(1, (2, 2), 0.9)


def test_every_unit_is_masked_equally_often_and_images_differ():
    torch.manual_seed(0)
    masks = draw_mask(4000, (4, 4), 0.75).float()
    assert (masks.mean(0) - 0.75).abs().max() < 0.04
    assert not torch.equal(masks[0], masks[1])


def test_visible_indices_are_in_raster_order():
    mask = torch.tensor([[[1, 0, 1], [0, 1, 1]], [[1, 1, 1], [0, 1, 0]]]).bool()
    assert visible_indices(mask).tolist() == [[1, 3], [3, 5]]


def test_different_numbers_of_visible_units_are_refused():
    with pytest.raises(ValueError, match='same number of visible'):
        visible_indices(torch.tensor([[[True, False]], [[False, False]]]))


def test_scatter_against_a_loop():
    torch.manual_seed(0)
    tokens, fill = torch.randn(2, 2, 5), torch.randn(5)
    indices = torch.tensor([[0, 3], [1, 2]])
    full = scatter_visible(tokens, indices, fill, 4)
    for b in range(2):
        for place in range(4):
            where = indices[b].tolist()
            expected = tokens[b, where.index(place)] if place in where else fill
            assert torch.equal(full[b, place], expected)


def test_rescaled_mask_by_hand():
    mask = torch.tensor([[[1, 0], [1, 1]]]).bool()
    assert rescale_mask(mask, (4, 4))[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1] * 4, [1] * 4]
    assert rescale_mask(mask, (1, 1)).tolist() == [[[0.75]]]
    assert rescale_mask(mask, (2, 1)).tolist() == [[[0.5], [1.0]]]
    assert rescale_mask(mask, (1, 4)).tolist() == [[[1, 1, 0.5, 0.5]]]


def test_grids_that_do_not_divide():
    with pytest.raises(ValueError, match='14 units cannot be rescaled to 9'):
        rescale_mask(torch.ones(1, 14, 14).bool(), (9, 9))
