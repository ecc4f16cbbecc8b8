import pytest
import torch
import torch.nn.functional as F

from mmwamim.models import LevelDecoder, MultiLevelDecoder
from mmwamim.models.masking import draw_mask, visible_indices
from mmwamim.models.positions import sincos_positions


def build(feature_stride=16, target_stride=16, extra=1):
    torch.manual_seed(0)
    decoder = LevelDecoder(24, 9, feature_stride, target_stride, 16, 2, 4., extra,
                           dict(type='LN', eps=1e-6))
    for parameter in decoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return decoder


def decode_slowly(decoder, tokens, mask):
    """A token at a time up to the norm after the block; then (B, D, rows, cols)."""
    rows, cols = mask.shape[1:]
    positions = sincos_positions((rows, cols), 16)[0]
    full = []
    for image, hidden in zip(tokens, mask):
        visible = iter(image[1:])
        grid = [decoder.embed(decoder.norm(image[0]))]
        for place, h in enumerate(hidden.flatten().tolist()):
            token = decoder.mask_token[0, 0] if h else decoder.embed(decoder.norm(next(visible)))
            grid.append(token + positions[place])
        full.append(torch.stack(grid))
    x = decoder.out_norm(decoder.block(torch.stack(full)))[:, 1:]
    return x.unflatten(1, (rows, cols)).permute(0, 3, 1, 2)


def inputs():
    mask = draw_mask(2, (4, 6), 0.75)
    return torch.randn(2, 1 + visible_indices(mask).shape[1], 24), mask


def test_same_grid_against_a_slow_reference():
    decoder = build()
    tokens, mask = inputs()
    x = decode_slowly(decoder, tokens, mask)
    expected = torch.einsum('bdhw,od->bohw', x, decoder.predict.weight[:, :, 0, 0])
    expected = expected + decoder.predict.bias[:, None, None]
    torch.testing.assert_close(decoder(tokens, mask), expected, rtol=0, atol=1e-5)


def test_half_grid_is_the_mean_of_2x2_tokens():
    decoder = build(target_stride=32)
    tokens, mask = inputs()
    x = decode_slowly(decoder, tokens, mask)
    x = (x[..., 0::2, 0::2] + x[..., 0::2, 1::2] + x[..., 1::2, 0::2] + x[..., 1::2, 1::2]) / 4
    torch.testing.assert_close(decoder(tokens, mask), decoder.predict(x), rtol=0, atol=1e-5)


def test_fourfold_grid_is_two_transposed_convolutions():
    decoder = build(target_stride=4)
    tokens, mask = inputs()
    x = decode_slowly(decoder, tokens, mask)
    first, norm, _, second = decoder.resize
    x = F.conv_transpose2d(x, first.weight, first.bias, stride=2)
    mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    x = (x - mean) / (variance + 1e-6).sqrt()
    x = F.gelu(x * norm.weight[:, None, None] + norm.bias[:, None, None])
    x = F.conv_transpose2d(x, second.weight, second.bias, stride=2)
    assert first.weight.shape == (16, 8, 2, 2) and second.weight.shape == (8, 4, 2, 2)
    torch.testing.assert_close(decoder(tokens, mask), decoder.predict(x), rtol=0, atol=1e-5)


def test_ratio_must_be_a_power_of_two():
    with pytest.raises(ValueError, match='power of two'):
        build(feature_stride=16, target_stride=48)


def fields(**other):
    return {**dict(in_channels=(24, 24), feature_strides=(16, 16), out_channels=(9, 12),
                   target_strides=(8, 32), mask_unit=16, num_extra_tokens=1, embed_dims=16,
                   num_heads=2), **other}


def test_predictions_have_the_targets_shapes():
    tokens, mask = inputs()
    outputs = MultiLevelDecoder(**fields())([tokens, tokens], mask)
    assert [tuple(o.shape) for o in outputs] == [(2, 9, 8, 12), (2, 12, 2, 3)]


@pytest.mark.parametrize('other, message', [
    (dict(out_channels=(9, 9, 9)), '2 levels .* but the target has 3'),
    (dict(num_heads=3), 'divisible by num_heads 3'),
])
def test_bad_fields_are_named(other, message):
    with pytest.raises(ValueError, match=message):
        MultiLevelDecoder(**fields(**other))
