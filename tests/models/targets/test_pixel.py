import numpy as np
import pytest
import torch

from mmwamim.models import PixelTargetGenerator
from tests.support.models import noise
from tests.support.target_contract import TargetContract


class TestContract(TargetContract):

    def build(self, in_channels=3):
        return PixelTargetGenerator(in_channels=in_channels)


class TestContractOfSamples(TargetContract):

    def build(self, in_channels=3):
        return PixelTargetGenerator((8, 32), 'none', samples=2, in_channels=in_channels)


def loop_cells(image, stride):
    """(C, H, W) -> (stride * stride * C, H / stride, W / stride), cell by cell."""
    channels, height, width = image.shape
    out = np.zeros((stride * stride * channels, height // stride, width // stride))
    for row in range(height // stride):
        for col in range(width // stride):
            cell = image[:, row * stride:(row + 1) * stride, col * stride:(col + 1) * stride]
            out[:, row, col] = cell.transpose(1, 2, 0).reshape(-1)
    return out


@pytest.mark.parametrize('norm', ['token', 'none'])
def test_equals_loops(norm):
    images = 2 * noise(2, 3, 16, 24) + 1
    for level, stride in zip(PixelTargetGenerator((2, 4, 8), norm)(images), (2, 4, 8), strict=True):
        for ours, image in zip(level.numpy(), images.double().numpy(), strict=True):
            expected = loop_cells(image, stride)
            if norm == 'token':
                std = np.sqrt(expected.var(0, ddof=1) + 1e-6)
                expected = (expected - expected.mean(0)) / std
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


def test_is_the_target_of_mae():
    from mmpretrain.models.heads import MAEPretrainHead
    head = MAEPretrainHead(dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
                           norm_pix=True, patch_size=16)
    images = noise(2, 3, 32, 32)
    ours = PixelTargetGenerator((16, ))(images)[0].flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours, head.construct_target(images), rtol=0, atol=1e-5)


def test_samples_are_means():
    image = torch.arange(16.).view(1, 1, 4, 4)
    target = PixelTargetGenerator((4, ), 'none', samples=2, in_channels=1)(image)[0]
    assert target.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


@pytest.mark.parametrize('norm', ['token', 'none'])
def test_reconstructs_the_image(norm):
    images = noise(2, 3, 32, 64)
    target = PixelTargetGenerator((4, 8), norm)
    torch.testing.assert_close(target.reconstruct(target(images), images), images,
                               rtol=0, atol=1e-5)
    blocks = PixelTargetGenerator((4, 8), norm, samples=2)
    expected = images.view(2, 3, 16, 2, 32, 2).mean((3, 5))
    expected = expected.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(blocks.reconstruct(blocks(images), images), expected,
                               rtol=0, atol=1e-5)


@pytest.mark.parametrize('fields, message', [
    (dict(grid_strides=(8, 4)), r'grid_strides must be .* not \(8, 4\)'),
    (dict(grid_strides=(4, 6)), 'grid_strides'),
    (dict(grid_strides=()), 'grid_strides'),
    (dict(norm='subband'), "norm must be one of token, none, not 'subband'"),
    (dict(samples=3), 'samples 3 must divide'),
    (dict(samples=1, in_channels=1), 'at least two values'),
])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        PixelTargetGenerator(**fields)
