import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.feature import hog

from mmwamim.models import HOGTargetGenerator
from tests.support.models import noise
from tests.support.target_contract import TargetContract


class TestContract(TargetContract):

    def build(self, in_channels=3):
        return HOGTargetGenerator(in_channels=in_channels)


class TestContractOfMaskFeat(TargetContract):

    def build(self, in_channels=3):
        return HOGTargetGenerator((16, ), histograms=2, in_channels=in_channels)


@pytest.mark.parametrize('bins', [6, 9])
@pytest.mark.parametrize('size', [(32, 32), (48, 80)])
@pytest.mark.parametrize('channels', [1, 3])
def test_equals_scikit_image(channels, size, bins):
    images = noise(2, channels, *size)
    strides = (4, 8, 16)
    levels = HOGTargetGenerator(strides, bins, colours='strongest', operator='central',
                                in_channels=channels)(images)
    for level, stride in zip(levels, strides, strict=True):
        for ours, image in zip(level, images, strict=True):
            expected = hog(image.permute(1, 2, 0).double().numpy(), bins, (stride, stride), (1, 1),
                           block_norm='L2', feature_vector=False, channel_axis=-1)[:, :, 0, 0]
            np.testing.assert_allclose(ours.permute(1, 2, 0), expected, rtol=0, atol=1e-5)


def test_each_colour_equals_scikit_image_of_that_colour():
    images = noise(1, 3, 32, 48)
    level = HOGTargetGenerator((8, ), operator='central', norm='none')(images)[0]
    assert level.shape == (1, 27, 4, 6)
    for colour in range(3):
        expected = loop_hog(images[0, colour].double().numpy(), 8, 9)
        np.testing.assert_allclose(level[0, 9 * colour:9 * colour + 9], expected, atol=1e-5)


def loop_hog(plane, stride, bins):
    """Central differences and votes, pixel by pixel, not normalised."""
    height, width = plane.shape
    out = np.zeros((bins, height // stride, width // stride))
    for y in range(height):
        for x in range(width):
            dy = plane[y + 1, x] - plane[y - 1, x] if 0 < y < height - 1 else 0
            dx = plane[y, x + 1] - plane[y, x - 1] if 0 < x < width - 1 else 0
            angle = math.atan2(dy, dx) % math.pi
            out[int(angle / math.pi * bins) % bins, y // stride, x // stride] += \
                math.hypot(dx, dy) / stride**2
    return out


@pytest.mark.parametrize('degrees, bin', [(5, 0), (25, 1), (95, 4), (175, 8)])
def test_a_ramp_votes_for_its_direction(degrees, bin):
    rows, cols = torch.meshgrid(torch.arange(16.), torch.arange(16.), indexing='ij')
    angle = math.radians(degrees)
    ramp = (rows * math.sin(angle) + cols * math.cos(angle)).expand(1, 1, 16, 16)
    for sign in (1, -1):
        votes = HOGTargetGenerator((4, ), in_channels=1)(sign * ramp)[0][0, :, 1, 1]
        assert votes.argmax() == bin
        torch.testing.assert_close(votes.max(), torch.tensor(1.))


def test_sobel_equals_a_convolution():
    images = noise(1, 1, 16, 16)
    kernel = torch.tensor([[-1., 0, 1], [-2, 0, 2], [-1, 0, 1]])
    padded = F.pad(images, (1, 1, 1, 1), mode='reflect')
    dx = F.conv2d(padded, kernel[None, None])
    dy = F.conv2d(padded, kernel.T[None, None])
    target = HOGTargetGenerator((4, ), norm='none', in_channels=1)(images)[0]
    torch.testing.assert_close(target.sum(1), F.avg_pool2d(torch.hypot(dx, dy), 4)[:, 0])


def test_several_histograms_are_those_of_smaller_cells():
    images = noise(2, 3, 32, 64)
    small = HOGTargetGenerator((8, ))(images)[0]
    large = HOGTargetGenerator((16, ), histograms=2)(images)[0]
    assert large.shape == (2, 108, 2, 4)
    for y in range(2):
        for x in range(2):
            position = 27 * (2 * y + x)
            assert torch.equal(large[:, position:position + 27], small[:, :, y::2, x::2])


@pytest.mark.parametrize('fields, message', [
    (dict(bins=1), 'bins'), (dict(histograms=3), 'histograms 3 must divide'),
    (dict(colours='all'), "colours must be one of each, strongest, not 'all'"),
    (dict(operator='prewitt'), 'operator'), (dict(norm='l2'), 'norm must be one of cell, none'),
    (dict(grid_strides=(8, 4)), 'grid_strides'),
])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        HOGTargetGenerator(**fields)


def test_a_stride_may_repeat():
    images = noise(1, 3, 32, 64)
    twice = HOGTargetGenerator(grid_strides=(8, 16, 16))(images)
    for ours, theirs in zip(twice[:2], HOGTargetGenerator(grid_strides=(8, 16))(images),
                            strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(twice[1], twice[2])


@pytest.mark.parametrize('bins', [9, 18])
@pytest.mark.parametrize('bias', [False, True])
def test_exchanged_directions_and_bias_equal_loops(bins, bias):
    """As in the code of MaskFeat and LocalMIM: a pixel's bin counts from the axis of the rows."""
    torch.manual_seed(0)
    plane, half = noise(1, 1, 16, 16), math.pi / 2
    target = HOGTargetGenerator((8, ), bins, bias=bias, exchanged=True, operator='central',
                                norm='none', in_channels=1)
    down, right = target.bias[0].tolist() if bias else (0., 0.)
    assert not bias or 0 < max(abs(down), abs(right)) <= 1 / 3
    padded = np.pad(plane[0, 0].double().numpy(), 1, mode='reflect')
    expected = np.zeros((bins, 2, 2))
    for y in range(16):
        for x in range(16):
            dy = padded[y + 2, x + 1] - padded[y, x + 1] + down
            dx = padded[y + 1, x + 2] - padded[y + 1, x] + right
            share = ((half - math.atan2(dy, dx)) % math.pi) / math.pi
            expected[int(share * bins) % bins, y // 8, x // 8] += math.hypot(dx, dy) / 64
    np.testing.assert_allclose(target(plane)[0][0], expected, atol=1e-5)


def test_each_level_has_a_bias_of_its_own():
    images = noise(1, 3, 32, 32)
    several = HOGTargetGenerator((8, 16, 16), 18, bias=True, exchanged=True)
    assert several.bias.shape == (3, 2) and len(several.bias.unique()) == 6
    levels = several(images)
    assert not torch.equal(levels[1], levels[2])
    for level, stride, bias in zip(levels, (8, 16, 16), several.bias, strict=True):
        alone = HOGTargetGenerator((stride, ), 18, bias=True, exchanged=True)
        alone.bias.copy_(bias[None])
        assert torch.equal(level, alone(images)[0])


def test_a_bias_is_kept_in_checkpoints():
    ours, theirs = (HOGTargetGenerator(bias=True) for _ in range(2))
    assert not torch.equal(ours.bias, theirs.bias)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours.bias, theirs.bias)
    assert not HOGTargetGenerator().state_dict()
