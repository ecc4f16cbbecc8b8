import pytest
import torch
from sklearn.metrics import r2_score

from mmwamim.models import MultiLevelMIMHead
from mmwamim.models.heads import explained_share
from mmwamim.models.masking import draw_mask
from tests.support.models import level_losses, noise, total_loss
from tests.support.references import loop_loss, loop_rescale

SHAPES = [(2, 3, 8, 12), (2, 3, 4, 6), (2, 4, 2, 3), (2, 4, 4, 6)]
WEIGHTS = (0.5, 1., 2., 3.)
NAMES = ('level2', 'level3', 'level4', 'other')


def inputs():
    return ([noise(*shape, seed=i) for i, shape in enumerate(SHAPES)],
            [noise(*shape, seed=10 + i) for i, shape in enumerate(SHAPES)])


@pytest.mark.parametrize('distance', ['l2', 'l1', 'smooth_l1'])
@pytest.mark.parametrize('shared', [False, True])
def test_equals_a_slow_reference(shared, distance):
    torch.manual_seed(0)
    mask = draw_mask(1 if shared else 2, (4, 6), 0.7)
    predictions, targets = inputs()
    for prediction in predictions:
        prediction.requires_grad_()
    losses = MultiLevelMIMHead(WEIGHTS, NAMES, distance)(predictions, targets, mask)
    assert list(losses) == [f'{kind}_{name}' for name in NAMES for kind in ('loss', 'explained')]
    expected = loop_loss(predictions, targets, mask, WEIGHTS, distance)
    for ours, theirs in zip(level_losses(losses), expected, strict=True):
        assert ours.dim() == 0
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    ours = torch.autograd.grad(total_loss(losses), predictions)
    theirs = torch.autograd.grad(sum(expected), predictions)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-7)


def test_by_hand():
    mask = torch.tensor([[[True, False], [True, True]]])
    prediction = torch.tensor([[[[1., 9.], [2., 3.]]]])
    head = MultiLevelMIMHead((0.5, 2.), ('fine', 'coarse'))
    losses = head([prediction, torch.tensor([[[[2.]]]])],
                  [torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1)], mask)
    assert losses['loss_fine'].item() == pytest.approx(0.5 * (1 + 4 + 9) / 3)
    assert losses['loss_coarse'].item() == pytest.approx(2 * 4)


@pytest.mark.parametrize('shared', [False, True])
def test_explained_share_equals_a_weighted_regression_score(shared):
    torch.manual_seed(0)
    mask = draw_mask(1 if shared else 2, (4, 6), 0.7)
    _, targets = inputs()
    targets = [2 * target + 3 for target in targets]  # the mean must not count as explained
    predictions = [target + 0.5 * noise(*target.shape, seed=5) for target in targets]
    results = MultiLevelMIMHead(WEIGHTS, NAMES, 'l1')(predictions, targets, mask)
    for name, prediction, target in zip(NAMES, predictions, targets, strict=True):
        share = loop_rescale(mask, target.shape[-2:]).expand(len(target), -1, -1).flatten()
        true, predicted = (t.movedim(1, -1).flatten(0, -2) for t in (target, prediction))
        expected = r2_score(true, predicted, sample_weight=share,
                            multioutput='variance_weighted')
        assert results[f'explained_{name}'].item() == pytest.approx(expected, abs=1e-5)


def test_explained_share_of_the_mean_is_zero_and_takes_no_gradient():
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    target = noise(3, 4, 2, 2)
    mean = target.mean((0, 2, 3), keepdim=True).expand_as(target).clone().requires_grad_()
    flat = torch.ones(3, 4, 2, 2)
    results = MultiLevelMIMHead((1., 1.), ('level2', 'level3'))([mean, 2 * flat], [target, flat],
                                                                mask)
    assert results['explained_level2'].item() == pytest.approx(0, abs=1e-6)
    assert results['explained_level3'].item() == 0  # nothing varies, so nothing is explained
    assert not results['explained_level2'].requires_grad


def test_gradient_is_zero_at_visible_positions_and_nowhere_else():
    torch.manual_seed(0)
    mask = draw_mask(2, (4, 6), 0.7)
    predictions, targets = inputs()
    for prediction in predictions:
        prediction.requires_grad_()
    total_loss(MultiLevelMIMHead(WEIGHTS, NAMES)(predictions, targets, mask)).backward()
    for prediction in predictions:
        weights = loop_rescale(mask, prediction.shape[-2:])[:, None].expand_as(prediction)
        assert torch.equal(prediction.grad != 0, weights > 0)


def test_a_shared_mask_is_the_mask_of_every_image():
    mask = draw_mask(1, (4, 6), 0.7)
    head = MultiLevelMIMHead(WEIGHTS, NAMES)
    shared = head(*inputs(), mask)
    for name, loss in head(*inputs(), mask.expand(2, -1, -1)).items():
        torch.testing.assert_close(loss, shared[name])


def test_half_precision_predictions_are_compared_in_float32():
    prediction, target = noise(1, 3, 2, 2).bfloat16(), noise(1, 3, 2, 2, seed=1)
    mask = torch.ones(1, 2, 2).bool()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = MultiLevelMIMHead((1., ), ('x', ))([prediction], [target], mask)['loss_x']
    assert loss.dtype == torch.float32
    expected = (prediction.float() - target).square().mean()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize('fields, message', [
    (dict(loss_weights=(1., 1., 1.)), 'loss_weights has 3 entries but there are 2 levels: a, b'),
    (dict(loss_weights=(1., -1.)), 'loss_weights must not be negative'),
    (dict(loss_weights=(1., float('nan'))), 'loss_weights must not be negative, NaN'),
    (dict(distance='l3'), "distance must be one of l2, l1, smooth_l1, not 'l3'"),
])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        MultiLevelMIMHead(**{**dict(loss_weights=(1., 1.), level_names=('a', 'b')), **fields})


def test_nothing_masked_and_wrong_shapes_are_refused():
    head = MultiLevelMIMHead((1., ), ('level2', ))
    x = torch.zeros(1, 3, 2, 2)
    masked = torch.ones(1, 2, 2).bool()
    with pytest.raises(ValueError, match='nothing is masked'):
        head([x], [x], ~masked)
    with pytest.raises(ValueError, match='level2: prediction'):
        head([x[:, :2]], [x], masked)
    with pytest.raises(ValueError):
        head([x, x], [x, x], masked)
    with pytest.raises(ValueError, match='2 units cannot be rescaled to 3'):
        head([torch.zeros(1, 3, 3, 3)], [torch.zeros(1, 3, 3, 3)], masked)


@pytest.mark.parametrize('colour', [0., 0.3, -2.2])
def test_a_target_of_one_value_has_no_share_to_explain(colour):
    """Its mean is rounded, and so differs a little from it."""
    target = torch.full((2, 3, 7, 7), colour)
    shares = torch.rand(2, 7, 7, generator=torch.Generator().manual_seed(0))
    shares /= shares.sum()
    assert explained_share(target + 0.1, target, shares) == 0
    target[:, 0, :3] += 1e-3  # what float32 can tell counts
    assert explained_share(target, target, shares) == 1
