import numpy as np
import pytest
import pywt

from mmwamim.models import WaveletPacketTargetGenerator
from tests.support.models import noise
from tests.support.target_contract import TargetContract


class TestContract(TargetContract):
    def build(self, in_channels=3):
        return WaveletPacketTargetGenerator(levels=(1, 2, 4), in_channels=in_channels)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
@pytest.mark.parametrize('norm, compand', [('none', None), ('contrast', None), ('contrast', 0.1)])
def test_values_are_those_of_pywavelets(wavelet, norm, compand):
    images = noise(2, 3, 32, 48)
    target = WaveletPacketTargetGenerator(wavelet, (1, 2, 3), 3, norm, compand)
    assert target.channels == (12, 27, 27)
    for level, ours in zip((1, 2, 3), target(images), strict=True):
        tree = pywt.WaveletPacket2D(images.double().numpy(), wavelet, 'periodization',
                                    maxlevel=level, axes=(-2, -1))
        table = tree.get_level(level, order='freq')
        count = min(3, 2**level)
        for place, (row, column) in enumerate(np.ndindex(count, count)):
            expected = table[row][column].data
            if norm == 'contrast':
                expected = expected / 2**level
            if compand and place:
                expected = np.sign(expected) * np.log1p(np.abs(expected) / compand)
            np.testing.assert_allclose(ours[:, 3 * place:3 * place + 3], expected, rtol=1e-4,
                                       atol=1e-5)


@pytest.mark.parametrize('fields, message', [
    (dict(levels=(0, 1)), 'levels must be integers from 1'),
    (dict(levels=(2, 2)), 'levels must be integers from 1'),
    (dict(norm='token'), 'norm must be one of contrast, none'),
    (dict(frequencies=0), 'frequencies must be an integer'),
    (dict(frequencies=1.5), 'frequencies must be an integer'),
    (dict(levels=(1, 17)), 'from 1 to 16'),
    (dict(compand=-1.), 'compand must be positive'),
    (dict(wavelet='harr'), 'harr'),
])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        WaveletPacketTargetGenerator(**fields)
