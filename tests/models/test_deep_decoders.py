"""MAE's, MFF's and CrossMAE's decoders against loops that put every token in its place by hand."""
import pytest
import torch

from mmwamim.models import CrossAttentionDecoder, MAEDecoder, WaMIM
from mmwamim.models.masking import MaskPlan
from tests.support.models import TINY, level_losses, noise, shake, total_loss
from tests.support.references import loop_cross, loop_mae

GRID = (3, 4)
SIZES = dict(target_strides=(8, ), mask_unit=8, out_channels=(5, ), num_extra_tokens=1,
             embed_dims=16, depth=3, num_heads=2)


def decoder(kind, levels, **fields):
    torch.manual_seed(0)
    made = kind(in_channels=(24, ) * levels, feature_strides=(8, ) * levels, **SIZES, **fields)
    made.init_weights()
    return shake(made)


def plan_of(batch=2, predicted=None):
    """Images with different masks of 4 visible units; the first ``predicted`` others count."""
    mask, wanted = torch.ones(batch, *GRID).bool(), torch.zeros(batch, *GRID).bool()
    for image in range(batch):
        places = torch.randperm(12, generator=torch.Generator().manual_seed(image))
        mask[image].view(-1)[places[:4]] = False
        wanted[image].view(-1)[places[4:4 + (predicted or 8)]] = True
    if predicted is None:
        return MaskPlan.arrange(mask, 4)
    return MaskPlan.arrange(mask, 4, predicted=wanted, num_predicted=predicted)


@pytest.mark.parametrize('kind, levels', [(MAEDecoder, 1), (MAEDecoder, 3),
                                          (CrossAttentionDecoder, 3)])
def test_predictions_equal_loops(kind, levels):
    made, plan = decoder(kind, levels), plan_of(predicted=3)
    features = [noise(2, 5, 24, seed=level) for level in range(levels)]
    with torch.no_grad():
        whole, trained = made.eval()(features, plan)[0], made.train()(features, plan)[0]
        assert whole.shape == trained.shape == (2, 5, *GRID)
        for image in range(2):
            own = [level[image] for level in features]
            cells = loop_mae(made, own, plan.mask[image]) if kind is MAEDecoder else loop_cross(
                made, own, GRID)
            expected = cells.T.reshape(5, *GRID)
            torch.testing.assert_close(whole[image], expected, rtol=1e-4, atol=1e-5)
            # In training what the loss does not count is zero.
            kept = plan.mask[image] if kind is MAEDecoder else plan.counted[image]
            torch.testing.assert_close(trained[image], expected * kept, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('fields, message', [
    (dict(target_strides=(16, )), r'grid_strides must be \(8,\), not \(16,\)'),
    (dict(target_strides=(8, 8), out_channels=(5, 5)), 'predicts one target'),
    (dict(in_channels=(24, 32)), 'one width'), (dict(depth=0), 'depth'),
    (dict(num_heads=3), 'divisible by num_heads')])
@pytest.mark.parametrize('kind', [MAEDecoder, CrossAttentionDecoder])
def test_bad_fields_are_named(kind, fields, message):
    with pytest.raises(ValueError, match=message):
        kind(**{**SIZES, 'in_channels': (24, 24), 'feature_strides': (8, 8), **fields})


def crossmae(**fields):
    torch.manual_seed(0)
    return WaMIM(
        backbone=dict(type='mmwamim.MaskedViT', arch=TINY, img_size=32, patch_size=8,
                      out_indices=(0, 1, 2, 3), with_input=True, out_type='raw'),
        neck=dict(type='mmwamim.CrossAttentionDecoder', embed_dims=16, depth=3, num_heads=2),
        head=dict(type='mmwamim.MultiLevelMIMHead', loss_weights=(1., )),
        target_generator=dict(type='mmwamim.PixelTargetGenerator', grid_strides=(8, )),
        **{'predict_ratio': 0.25, **fields})


def test_a_share_of_the_masked_units_is_predicted():
    model, images = crossmae(), noise(64, 3, 32, 32)
    plan = model.plan_mask(images)
    assert plan.predicted.shape == (64, 4) and plan.num_visible == 4
    assert (plan.counted <= plan.mask).all() and (plan.counted.flatten(1).sum(1) == 4).all()
    # Any masked unit may be chosen: a third of them is.
    share = plan.counted.float().mean(0) / plan.mask.float().mean(0)
    assert (share - 1 / 3).abs().max() < 0.25
    shares = plan.shares((8, 8), 64)
    assert shares.sum().item() == pytest.approx(1)
    assert torch.equal(shares[:, ::2, ::2] > 0, plan.counted)
    fine = plan.refine(2)
    assert torch.equal(fine.counted[:, ::2, 1::2], plan.counted) and fine.num_predicted == 16


def test_loss_counts_what_is_predicted_and_gradients_reach_all():
    model, images = crossmae(), noise(2, 3, 32, 32)
    model.init_weights()
    shake(model, 0.05)
    plan = model.plan_mask(images)
    losses = model.loss(images, plan=plan)
    target, = model.target_generator(images)
    prediction, = model.neck(model.backbone(images, plan), plan)
    expected = ((prediction - target)**2).mean(1)[plan.counted].mean()
    torch.testing.assert_close(level_losses(losses)[0], expected)
    total_loss(losses).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)


def test_the_input_is_a_feature():
    backbone, images = crossmae().backbone, noise(1, 3, 32, 32)
    mask = torch.ones(1, 4, 4).bool()
    mask[0, 2, 1] = False
    first, second, *_ = backbone(images, mask)
    torch.testing.assert_close(backbone.layers[0](first), second)
    patch = images[0, :, 16:24, 8:16].flatten()
    projection = backbone.patch_embed.projection
    token = projection.weight.flatten(1) @ patch + projection.bias + backbone.pos_embed[0, 10]
    torch.testing.assert_close(first[0, 1], token, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('ratio', [0., 0.8, -1.])
def test_a_bad_predict_ratio_is_named(ratio):
    with pytest.raises(ValueError, match='predict_ratio'):
        crossmae(predict_ratio=ratio)
