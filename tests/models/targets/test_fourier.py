import numpy as np
import pytest
import skimage.data
import torch

from mmwamim.models import FourierTargetGenerator, FrequencyPassTargetGenerator
from mmwamim.models.targets.fourier import low_frequencies
from tests.support.models import noise
from tests.support.target_contract import TargetContract


class TestContractOfParts(TargetContract):

    def build(self, in_channels=3):
        return FourierTargetGenerator(in_channels=in_channels)


class TestContractOfPhases(TargetContract):

    def build(self, in_channels=3):
        return FourierTargetGenerator((2, 4), 'magnitude_phase', in_channels=in_channels)


class TestContractOfPasses(TargetContract):

    def build(self, in_channels=3):
        return FrequencyPassTargetGenerator(in_channels=in_channels)


@pytest.mark.parametrize('norm', ['token', 'none'])
@pytest.mark.parametrize('representation', ['real_imaginary', 'magnitude_phase'])
def test_equals_numpy_cell_by_cell(representation, norm):
    images = noise(2, 3, 16, 24) + 0.5
    levels = FourierTargetGenerator((2, 4, 8), representation, norm)(images)
    for level, stride in zip(levels, (2, 4, 8), strict=True):
        for row in range(16 // stride):
            for col in range(24 // stride):
                cell = images[:, :, row * stride:(row + 1) * stride,
                              col * stride:(col + 1) * stride].double().numpy()
                spectrum = np.fft.rfft2(cell, norm='ortho').reshape(2, -1)
                if representation == 'real_imaginary':
                    parts = np.concatenate([spectrum.real, spectrum.imag], 1)
                    expected = standardise(parts) if norm == 'token' else parts
                else:
                    size = standardise(abs(spectrum)) if norm == 'token' else abs(spectrum)
                    # the sign of a zero imaginary part decides between pi and -pi
                    phase = np.abs(np.angle(spectrum)) / np.pi
                    expected = np.concatenate([size, phase], 1)
                    half = level.shape[1] // 2
                    level[:, half:, row, col] = level[:, half:, row, col].abs()
                np.testing.assert_allclose(level[:, :, row, col], expected, rtol=0, atol=1e-4)


def standardise(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, ddof=1, keepdims=True) + 1e-6)


def test_phases_have_their_sign():
    wave = torch.sin(2 * torch.pi * torch.arange(8.) / 8).expand(1, 1, 8, 8)  # -i at frequency 1
    level = FourierTargetGenerator((8, ), 'magnitude_phase', 'none', in_channels=1)(wave)[0]
    assert level.shape == (1, 80, 1, 1)
    assert level[0, 1].item() == pytest.approx(4, abs=1e-5)  # sqrt(64) / 2
    assert level[0, 41].item() == pytest.approx(-0.5, abs=1e-5)


@pytest.mark.parametrize('size', [(16, 16), (16, 24)])
def test_low_frequencies_are_a_circle(size):
    ours = low_frequencies(size, 3)
    for row in range(size[0]):
        for col in range(size[1] // 2 + 1):
            y = row if row <= size[0] // 2 else row - size[0]
            assert ours[row, col] == (y * y + col * col <= 9)


def test_passes_add_up_and_select():
    images = noise(2, 3, 32, 48)
    target = FrequencyPassTargetGenerator(('low', 'high'), (5, 5), (4, 8), 'none')
    low, high = target(images)
    low = torch.nn.functional.pixel_shuffle(low, 4)
    high = torch.nn.functional.pixel_shuffle(high, 8)
    torch.testing.assert_close(low + high, images, rtol=0, atol=1e-5)
    # the independent way round: the full, shifted spectrum
    rows, cols = np.meshgrid(np.arange(32) - 16, np.arange(48) - 24, indexing='ij')
    shifted = np.fft.fftshift(np.fft.fft2(images.double().numpy()), axes=(-2, -1))
    expected = np.fft.ifft2(np.fft.ifftshift(shifted * (rows**2 + cols**2 <= 25), axes=(-2, -1)))
    np.testing.assert_allclose(low, expected.real, rtol=0, atol=1e-5)


@pytest.mark.parametrize('build, fields, message', [
    (FourierTargetGenerator, dict(grid_strides=(1, 2)), 'at least 2'),
    (FourierTargetGenerator, dict(representation='polar'), "representation .* not 'polar'"),
    (FourierTargetGenerator, dict(norm='subband'), 'norm must be one of token, none'),
    (FrequencyPassTargetGenerator, dict(passes=('low', )), 'one entry a level'),
    (FrequencyPassTargetGenerator, dict(passes=('low', 'high', 'mid', 'low')), 'passes'),
    (FrequencyPassTargetGenerator, dict(radius=(1, 2, 3, -1)), 'radius'),
])
def test_bad_fields_are_named(build, fields, message):
    with pytest.raises(ValueError, match=message):
        build(**fields)


def test_the_target_of_pixmims_code_is_nearly_ours():
    """There the circle lies half a cycle beside the zero frequency, and absolute values of complex
    images are taken; docs/baselines.md has the figure."""
    pixels = skimage.data.astronaut()[100:324, 100:324].transpose(2, 0, 1) / 255
    mean, std = (np.array(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    ours = FrequencyPassTargetGenerator(('low', ), (40., ), (16, ), norm='token')(
        torch.from_numpy((pixels - mean) / std).float()[None])[0][0].numpy()
    places = np.arange(224) - 223 / 2  # zero frequency is at 112, not at 111.5
    circle = places[:, None]**2 + places**2 <= 40**2
    spectrum = np.fft.fftshift(np.fft.fft2(pixels), axes=(1, 2)) * circle
    image = (np.abs(np.fft.ifft2(spectrum)) - mean) / std
    cells = image.reshape(3, 14, 16, 14, 16).transpose(0, 2, 4, 1, 3).reshape(768, 14, 14)
    cells = (cells - cells.mean(0)) / np.sqrt(cells.var(0, ddof=1) + 1e-6)
    assert np.corrcoef(ours.ravel(), cells.ravel())[0, 1] == pytest.approx(0.991, abs=5e-4)
