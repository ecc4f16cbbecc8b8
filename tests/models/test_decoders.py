import pytest
import torch

from mmwamim.models import LevelDecoder, MultiLevelDecoder
from mmwamim.models.masking import MaskPlan, draw_mask, rescale_mask
from tests.support.models import noise, shake
from tests.support.references import loop_decode

GRID = (4, 6)


def build(feature_stride=16, target_stride=16, extra=1):
    torch.manual_seed(0)
    return shake(LevelDecoder(24, 9, feature_stride, target_stride, 16, 2, 4., extra,
                              dict(type='LN', eps=1e-6)))


def inputs(extra=1, shared=False):
    torch.manual_seed(0)
    mask = draw_mask(1 if shared else 2, GRID, 0.75)
    return noise(2, extra + int((~mask[0]).sum()), 24), mask


@pytest.mark.parametrize('target_stride, factor', [(4, 4), (8, 2), (16, 1), (32, 0.5),
                                                   (2, 8)])
@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('extra', [0, 1])
def test_equals_a_slow_reference(target_stride, factor, shared, extra):
    decoder = build(16, target_stride, extra).double()
    tokens, mask = inputs(extra, shared)
    tokens = tokens.double()
    prediction = decoder(tokens, mask)
    assert prediction.shape == (2, 9, GRID[0] * factor, GRID[1] * factor)
    expected = loop_decode(decoder, tokens, mask, target_stride)
    # The sine-cosine positions are float32, from two different routes.
    torch.testing.assert_close(prediction, expected, rtol=0, atol=1e-5)


def test_a_quarter_of_the_grid_is_the_mean_of_4x4_tokens():
    decoder = build(8, 32)
    mask = draw_mask(2, (4, 8), 0.5)
    tokens = noise(2, 17, 24)
    prediction = decoder(tokens, mask)
    assert prediction.shape == (2, 9, 1, 2)
    torch.testing.assert_close(prediction, loop_decode(decoder, tokens, mask, 32), rtol=0,
                               atol=1e-4)


@pytest.mark.parametrize('target_stride', [4, 16, 32])
def test_another_image_size_than_the_usual_one(target_stride):
    """Positions of the usual size are kept; those of others are made."""
    torch.manual_seed(0)
    neck = MultiLevelDecoder(**fields(in_channels=(24, ), feature_strides=(16, ),
                                      out_channels=(9, ), target_strides=(target_stride, ),
                                      image_size=(64, 96)))
    names = list(shake(neck.eval()).state_dict())
    assert not any('positions' in name for name in names)
    for grid in ((4, 6), (2, 4), (4, 6)):
        mask = draw_mask(2, grid, 0.75)
        tokens = noise(2, 1 + int((~mask[0]).sum()), 24)
        output, = neck([tokens], MaskPlan.from_mask(mask))
        torch.testing.assert_close(output, loop_decode(neck.levels[0], tokens, mask, target_stride),
                                   rtol=0, atol=1e-4)
    assert list(neck.state_dict()) == names


def test_widths_halve_at_each_doubling():
    decoder = build(16, 4)
    assert [tuple(decoder.resize[i].weight.shape) for i in (0, 3)] == [(16, 8, 2, 2), (8, 4, 2, 2)]
    assert decoder.predict.in_channels == 4


def test_every_parameter_gets_a_gradient():
    for target_stride in (4, 16, 32):
        decoder = build(16, target_stride)
        tokens, mask = inputs()
        decoder(tokens, mask).square().sum().backward()
        for name, parameter in decoder.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_init_weights_draws_the_mask_token():
    decoder = LevelDecoder(24, 9, 16, 16, 256, 2, 4., 1, dict(type='LN', eps=1e-6))
    decoder.init_weights()
    assert decoder.mask_token.std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize('feature_stride, target_stride', [(16, 48), (48, 16), (16, 24)])
def test_ratio_must_be_a_power_of_two(feature_stride, target_stride):
    with pytest.raises(ValueError, match=f'grid stride {target_stride} .*stride {feature_stride}'
                                         '.* power of two'):
        build(feature_stride, target_stride)


def fields(**other):
    return {**dict(in_channels=(24, 24), feature_strides=(16, 16), out_channels=(9, 12),
                   target_strides=(8, 32), mask_unit=16, num_extra_tokens=1, embed_dims=16,
                   num_heads=2), **other}


def test_every_level_has_its_own_decoder():
    torch.manual_seed(0)
    neck = shake(MultiLevelDecoder(**fields())).eval()
    tokens, mask = inputs()
    features = [tokens, noise(*tokens.shape, seed=1)]
    outputs = neck(features, mask)
    assert [tuple(o.shape) for o in outputs] == [(2, 9, 8, 12), (2, 12, 2, 3)]
    for output, level, tokens, stride in zip(outputs, neck.levels, features, (8, 32), strict=True):
        torch.testing.assert_close(output, loop_decode(level, tokens, mask, stride), rtol=0,
                                   atol=1e-4)


def test_every_level_may_have_its_own_width():
    decoder = MultiLevelDecoder(**fields(embed_dims=(8, 16)))
    assert [level.embed_dims for level in decoder.levels] == [8, 16]
    assert [level.embed.out_features for level in decoder.levels] == [8, 16]
    with pytest.raises(ValueError, match='embed_dims must be a width or one for each of 2 levels'):
        MultiLevelDecoder(**fields(embed_dims=(8, 16, 16)))


def test_mask_units_of_several_tokens_are_repeated():
    """A pyramid: strides 8, 16 and 32 under mask units of 32 px."""
    torch.manual_seed(0)
    neck = shake(MultiLevelDecoder(**fields(
        in_channels=(24, 24, 24), feature_strides=(8, 16, 32), out_channels=(9, 9, 12),
        target_strides=(8, 16, 32), mask_unit=32, num_extra_tokens=0))).eval()
    mask = draw_mask(2, (2, 3), 0.5)
    masks = [mask.repeat_interleave(n, 1).repeat_interleave(n, 2) for n in (4, 2, 1)]
    features = [noise(2, int((~m[0]).sum()), 24, seed=i) for i, m in enumerate(masks)]
    for output, level, tokens, own, stride in zip(neck(features, mask), neck.levels, features,
                                                  masks, (8, 16, 32), strict=True):
        torch.testing.assert_close(output, loop_decode(level, tokens, own, stride), rtol=0,
                                   atol=1e-4)


@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('target_strides', [(4, 16), (8, 32), (2, 8)])
def test_training_computes_masked_tokens_alone_with_the_same_loss(target_strides, shared):
    torch.manual_seed(0)
    neck = shake(MultiLevelDecoder(**fields(target_strides=target_strides))).double()
    tokens, mask = inputs(shared=shared)
    features = [tokens.double(), noise(*tokens.shape, seed=1).double()]
    found = []
    for training in (True, False):
        outputs = neck.train(training)(features, MaskPlan.from_mask(mask))
        targets = [noise(*output.shape, seed=2).double() for output in outputs]
        weights = [rescale_mask(mask, output.shape[2:])[:, None] for output in outputs]
        loss = sum(((output - target).square() * weight).sum() for output, target, weight in zip(
            outputs, targets, weights, strict=True))
        neck.zero_grad()
        loss.backward()
        found.append((outputs, loss, [p.grad.clone() for p in neck.parameters()]))
    (trained, loss, gradients), (full, expected, others) = found
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(gradients, others, strict=True):
        torch.testing.assert_close(ours, theirs)
    for level, stride in enumerate(target_strides):
        if stride > 16:  # a cell covers masked and visible tokens
            torch.testing.assert_close(trained[level], full[level])
            continue
        masked = rescale_mask(mask, full[level].shape[2:]).bool()[:, None]
        torch.testing.assert_close(trained[level], full[level] * masked)
        assert (full[level] * ~masked).abs().sum() > 0


@pytest.mark.parametrize('other, message', [
    (dict(out_channels=(9, 9, 9)), '2 levels .* but the target has 3'),
    (dict(num_heads=3), 'divisible by num_heads 3'),
    (dict(embed_dims=18, num_heads=2), 'divisible by 4'),
])
def test_bad_fields_are_named(other, message):
    with pytest.raises(ValueError, match=message):
        tokens, mask = inputs()
        MultiLevelDecoder(**fields(**other))([tokens, tokens], mask)


def test_a_misspelt_field_is_named():
    with pytest.raises(TypeError, match='embed_dim'):
        MultiLevelDecoder(**fields(embed_dim=16))
