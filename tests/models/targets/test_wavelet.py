import numpy as np
import pytest
import pywt
import torch

from mmwamim.models import WaveletTargetGenerator


def reference(image, level, total, approximation, norm, wavelet='haar', eps=1e-6):
    """One image (C, H, W) and level, by PyWavelets and loops."""
    coefficients = pywt.wavedec2(image, wavelet, 'periodization', total, axes=(-2, -1))
    bands = list(coefficients[total - level + 1])
    if approximation:
        # of any level: the coarsest of a transform that ends there
        bands.insert(0, pywt.wavedec2(image, wavelet, 'periodization', level, axes=(-2, -1))[0])
    target = np.concatenate(bands)
    if norm == 'token':
        for row in range(target.shape[1]):
            for col in range(target.shape[2]):
                cell = target[:, row, col]
                target[:, row, col] = (cell - cell.mean()) / np.sqrt(cell.var(ddof=1) + eps)
    elif norm == 'subband':
        for band in target:
            band[:] = (band - band.mean()) / np.sqrt(band.var(ddof=1) + eps)
    return target


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
@pytest.mark.parametrize('norm', ['token', 'subband', 'none'])
@pytest.mark.parametrize('approximation', ['coarsest', 'all', 'none'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_values(wavelet, norm, approximation, channels):
    images = np.random.default_rng(0).standard_normal((2, channels, 32, 64))
    generator = WaveletTargetGenerator(wavelet, (2, 3, 4), approximation, norm, channels)
    targets = generator(torch.tensor(images, dtype=torch.float32))
    for position, level in enumerate((2, 3, 4)):
        carries = approximation == 'all' or (approximation == 'coarsest' and level == 4)
        expected = np.stack([reference(image, level, 4, carries, norm, wavelet)
                             for image in images])
        assert targets[position].shape[1] == generator.channels[position]
        np.testing.assert_allclose(targets[position].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_papers_four_targets():
    generator = WaveletTargetGenerator()
    assert generator.grid_strides == (4, 8, 16, 32)
    assert generator.channels == (9, 9, 9, 12)
    assert generator.level_names == ('level2', 'level3', 'level4', 'level5')
    shapes = [tuple(target.shape) for target in generator(torch.zeros(1, 3, 224, 224))]
    assert shapes == [(1, 9, 56, 56), (1, 9, 28, 28), (1, 9, 14, 14), (1, 12, 7, 7)]


def test_float32_without_gradient_also_under_autocast():
    images = torch.randn(1, 3, 32, 32, requires_grad=True)
    generator = WaveletTargetGenerator(norm='none')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cast = generator(images)
    for target, plain in zip(cast, generator(images)):
        assert target.dtype == torch.float32 and not target.requires_grad
        assert torch.equal(target, plain)


@pytest.mark.parametrize('norm', ['token', 'subband', 'none'])
@pytest.mark.parametrize('approximation', ['coarsest', 'all', 'none'])
def test_reconstruction_of_the_targets_is_the_image(norm, approximation):
    images = torch.randn(2, 3, 32, 32)
    generator = WaveletTargetGenerator('db2', (1, 2, 3), approximation, norm)
    back = generator.reconstruct(generator(images), images)
    torch.testing.assert_close(back, images, rtol=0, atol=1e-4)


def test_reconstruction_leaves_out_what_is_not_a_target():
    images = torch.randn(1, 3, 32, 32)
    generator = WaveletTargetGenerator(levels=(2, 3))
    coefficients = pywt.wavedec2(images.numpy(), 'haar', level=3, axes=(-2, -1))
    coefficients[-1] = tuple(np.zeros_like(band) for band in coefficients[-1])
    expected = pywt.waverec2(coefficients, 'haar', axes=(-2, -1))
    back = generator.reconstruct(generator(images), images)
    np.testing.assert_allclose(back.numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('fields, message', [
    (dict(wavelet='haarr'), "unknown wavelet 'haarr'"),
    (dict(levels=(3, 2)), 'levels'), (dict(levels=()), 'levels'), (dict(levels=(0, 1)), 'levels'),
    (dict(norm='tokens'), 'norm must be one of token'),
    (dict(approximation='coarse'), 'approximation must be one of'),
    (dict(mode='mirror'), 'mode must be one of'),
    (dict(wavelet='db2', mode='zero'), "mode must be 'periodization'"),
])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        WaveletTargetGenerator(**fields)


def test_images_that_do_not_fit():
    with pytest.raises(ValueError, match='100x64 must be divisible by 32'):
        WaveletTargetGenerator()(torch.zeros(1, 3, 100, 64))
    with pytest.raises(ValueError, match='in_channels = 3'):
        WaveletTargetGenerator()(torch.zeros(1, 1, 64, 64))
