import numpy as np
import pytest
import pywt
import torch

from mmwamim.models import WaveletTargetGenerator
from tests.support.models import noise
from tests.support.references import loop_targets
from tests.support.target_contract import TargetContract


class TestContractOfLocalEnergy(TargetContract):

    def build(self, in_channels=3):
        return WaveletTargetGenerator(norm='unit', approximation_norm='colour',
                                      colours='opponent' if in_channels == 3 else 'rgb',
                                      in_channels=in_channels)


class TestContractOfConstants(TargetContract):

    def build(self, in_channels=3):  # in training its constants follow what they see
        return WaveletTargetGenerator(norm='band', approximation='all', compand=1.,
                                      in_channels=in_channels).eval()


def assert_equal_to_loop(images, **fields):
    target = WaveletTargetGenerator(in_channels=images.shape[1], **fields)
    fields.setdefault('levels', (2, 3, 4, 5))
    expected = loop_targets(images, **fields)
    levels = target(images)
    assert target.channels == tuple(level.shape[1] for level in expected)
    for ours, theirs in zip(levels, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


class TestContract(TargetContract):

    def build(self, in_channels=3):
        return WaveletTargetGenerator(in_channels=in_channels)


class TestContractOfLongFilters(TargetContract):

    def build(self, in_channels=3):
        return WaveletTargetGenerator('db4', levels=(1, 3), approximation='all', norm='subband',
                                      in_channels=in_channels)


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('approximation', ['coarsest', 'all', 'none'])
@pytest.mark.parametrize('norm', ['token', 'subband', 'none'])
def test_equals_pywavelets_and_loops(norm, approximation, channels):
    # Away from zero mean and unit variance, and with subbands of different size.
    images = 2 * noise(2, channels, 64, 96).cumsum(-1) + 1
    assert_equal_to_loop(images, norm=norm, approximation=approximation)


@pytest.mark.parametrize('wavelet', ['db2', 'bior2.2', 'sym5'])
def test_other_wavelets(wavelet):
    assert_equal_to_loop(noise(2, 3, 32, 64), wavelet=wavelet, levels=(1, 3))


@pytest.mark.parametrize('mode', pywt.Modes.modes)
def test_haar_in_every_mode(mode):
    assert_equal_to_loop(noise(1, 3, 16, 32), levels=(1, 4), mode=mode, norm='none')


def test_eps_is_added_to_the_variance():
    flat = torch.full((1, 3, 16, 16), 5.)
    levels = WaveletTargetGenerator(levels=(1, 2), approximation='none')(flat)
    assert all((level == 0).all() for level in levels)
    assert_equal_to_loop(0.1 * noise(1, 3, 16, 16), levels=(1, 2), eps=0.01)


def test_the_default_is_the_papers():
    target = WaveletTargetGenerator()
    assert target.grid_strides == (4, 8, 16, 32)
    assert target.channels == (9, 9, 9, 12)
    assert target.level_names == ('level2', 'level3', 'level4', 'level5')


def test_channels_are_subband_by_subband():
    images = torch.zeros(1, 3, 2, 2)
    images[0, 1] = torch.tensor([[1., 2.], [3., 5.]])  # the second colour alone
    target = WaveletTargetGenerator(levels=(1, ), norm='none')(images)[0].flatten()
    #                           approximation horizontal    vertical      diagonal
    assert target.tolist() == [0, 5.5, 0, 0, -2.5, 0, 0, -1.5, 0, 0, 0.5, 0]


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
@pytest.mark.parametrize('norm', ['token', 'subband', 'none'])
@pytest.mark.parametrize('approximation', ['coarsest', 'all', 'none'])
def test_all_levels_reconstruct_the_image(wavelet, norm, approximation):
    images = noise(2, 3, 64, 96)
    target = WaveletTargetGenerator(wavelet, (1, 2, 3, 4, 5), approximation, norm)
    torch.testing.assert_close(target.reconstruct(target(images), images), images,
                               rtol=0, atol=1e-4)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
@pytest.mark.parametrize('levels, zeroed', [((2, 3, 4, 5), (1, )), ((1, 3), (2, )), ((2, ), (1, ))])
def test_details_of_other_levels_are_zero_in_a_reconstruction(wavelet, levels, zeroed):
    images = noise(2, 3, 64, 96)
    target = WaveletTargetGenerator(wavelet, levels)
    depth = max(levels)
    coefficients = pywt.wavedec2(images.numpy(), wavelet, 'periodization', depth, axes=(-2, -1))
    for level in zeroed:
        position = depth - level + 1
        coefficients[position] = tuple(np.zeros_like(band) for band in coefficients[position])
    expected = pywt.waverec2(coefficients, wavelet, 'periodization', axes=(-2, -1))
    np.testing.assert_allclose(target.reconstruct(target(images), images), expected,
                               rtol=0, atol=1e-4)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
def test_reconstructions_inside_autocast_are_float32(wavelet):
    target = WaveletTargetGenerator(wavelet, (1, 2), colours='opponent', norm='contrast',
                                    approximation_norm='colour')
    images = noise(2, 3, 16, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = target.reconstruct(target(images), images)
    torch.testing.assert_close(found, images, rtol=0, atol=1e-5)


def test_a_reconstruction_follows_the_predictions():
    images = noise(1, 1, 16, 16)
    target = WaveletTargetGenerator(levels=(1, 2), norm='none', in_channels=1)
    predictions = [noise(1, 3, 8, 8, seed=1), noise(1, 4, 4, 4, seed=2)]
    fine, coarse = (level[0].numpy() for level in predictions)
    expected = pywt.waverec2([coarse[0], tuple(coarse[1:]), tuple(fine)], 'haar', 'periodization')
    np.testing.assert_allclose(target.reconstruct(predictions, images)[0, 0], expected,
                               rtol=0, atol=1e-5)


@pytest.mark.parametrize('fields, message', [
    (dict(levels=(0, 1)), r'levels .* not \(0, 1\)'),
    (dict(levels=(3, 2)), 'levels'),
    (dict(levels=(1, 99)), r'from 1 to 16 .* not \(1, 99\)'),
    (dict(levels=()), 'levels'),
    (dict(wavelet='harr'), "unknown wavelet 'harr'"),
    (dict(norm='layer'), "norm must be one of token, .* none, not 'layer'"),
    (dict(approximation='some'), "approximation must be one of .* not 'some'"),
    (dict(mode='mirror'), "mode must be one of .* not 'mirror'"),
    (dict(wavelet='db2', mode='zero'), "mode must be 'periodization' for wavelet 'db2'"),
])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        WaveletTargetGenerator(**fields)


@pytest.mark.parametrize('levels, divisor', [((2, 3, 4, 5), 32), ((1, 2, 3), 8)])
def test_the_divisor_is_named(levels, divisor):
    with pytest.raises(ValueError, match=f'100x96 must be divisible by {divisor}'):
        WaveletTargetGenerator(levels=levels)(torch.zeros(1, 3, 100, 96))
