import pytest
import torch

from mmwamim.models import MultiLevelMIMHead
from mmwamim.models.masking import draw_mask


def slow_loss(prediction, target, mask, power):
    """Position by position; the mask's share of a cell is counted pixel by pixel."""
    batch, channels, rows, cols = target.shape
    total = weight_sum = 0.
    for b in range(batch):
        hidden = mask[b % len(mask)]
        units, across = hidden.shape
        fine = hidden.repeat_interleave(rows, 0).repeat_interleave(cols, 1).float()
        for r in range(rows):
            for c in range(cols):
                share = fine[r * units:(r + 1) * units, c * across:(c + 1) * across].mean().item()
                distance = sum(abs((prediction - target)[b, k, r, c].item())**power
                               for k in range(channels)) / channels
                total += share * distance
                weight_sum += share
    return total / weight_sum


@pytest.mark.parametrize('distance, power', [('l2', 2), ('l1', 1)])
@pytest.mark.parametrize('shared', [False, True])
def test_against_a_slow_reference(shared, distance, power):
    torch.manual_seed(0)
    shapes = [(2, 3, 8, 8), (2, 3, 4, 4), (2, 4, 2, 2)]
    predictions, targets = ([torch.randn(shape) for shape in shapes] for _ in range(2))
    mask = draw_mask(1 if shared else 2, (4, 4), 0.7)
    head = MultiLevelMIMHead((0.5, 1., 2.), ('level2', 'level3', 'level4'), distance)
    losses = head(predictions, targets, mask)
    assert list(losses) == ['loss_level2', 'loss_level3', 'loss_level4']
    for weight, loss, prediction, target in zip((0.5, 1., 2.), losses.values(), predictions,
                                                targets):
        assert loss.item() == pytest.approx(
            weight * slow_loss(prediction, target, mask, power), rel=1e-5)


def test_visible_positions_get_no_gradient():
    mask = torch.tensor([[[True, False], [True, True]]])
    prediction = torch.ones(1, 3, 4, 4, requires_grad=True)
    head = MultiLevelMIMHead((1., ), ('level0', ))
    head([prediction], [torch.zeros(1, 3, 4, 4)], mask)['loss_level0'].backward()
    assert (prediction.grad[0, :, :2, 2:] == 0).all()
    assert (prediction.grad[0, :, 2:] > 0).all()


def test_half_precision_predictions_are_compared_in_float32():
    prediction, target = torch.rand(1, 3, 2, 2).bfloat16(), torch.rand(1, 3, 2, 2)
    mask = torch.ones(1, 2, 2).bool()
    loss = MultiLevelMIMHead((1., ), ('x', ))([prediction], [target], mask)['loss_x']
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((prediction.float() - target).square().mean().item())


@pytest.mark.parametrize('fields, message', [
    (dict(loss_weights=(1., 1., 1.)), 'loss_weights has 3 entries but there are 2 levels'),
    (dict(loss_weights=(1., -1.)), 'negative'), (dict(distance='l3'), 'distance must be one of'),
])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        MultiLevelMIMHead(**{**dict(loss_weights=(1., 1.), level_names=('a', 'b')), **fields})


def test_nothing_masked_and_wrong_shapes():
    head = MultiLevelMIMHead((1., ), ('level2', ))
    x = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match='nothing is masked'):
        head([x], [x], torch.zeros(1, 2, 2).bool())
    with pytest.raises(ValueError, match='level2: prediction'):
        head([x[:, :2]], [x], torch.ones(1, 2, 2).bool())
