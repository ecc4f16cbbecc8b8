import numpy as np
import pytest
import pywt
import torch

from mmwamim.wavelets import iwavelet_packet2, packet_paths, wavelet_packet2

WAVELETS = ['haar', 'db2', 'db4', 'bior1.3', 'rbio2.2', 'sym5']


def tree(x, wavelet, mode, level):
    return pywt.WaveletPacket2D(x, wavelet, mode, maxlevel=level)


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape)


@pytest.mark.parametrize('mode', pywt.Modes.modes)
@pytest.mark.parametrize('wavelet', WAVELETS)
def test_equals_pywavelets(wavelet, mode):
    for size, level in [((16, 12), 1), ((11, 18), 2)]:
        x = images(*size)
        theirs = tree(x, wavelet, mode, level)
        natural = np.stack([node.data for node in theirs.get_level(level)])
        ours = wavelet_packet2(torch.tensor(x), wavelet, level, mode)
        scale = np.abs(natural).max()
        np.testing.assert_allclose(ours, natural, rtol=0, atol=1e-11 * scale)
        back = iwavelet_packet2(ours, wavelet, mode, size=size)
        np.testing.assert_allclose(back, theirs.reconstruct(update=False), rtol=0,
                                   atol=1e-9 * scale)


@pytest.mark.parametrize('wavelet', pywt.wavelist(kind='discrete'))
def test_every_discrete_wavelet(wavelet):
    x = images(9, 14)
    theirs = [node.data for node in tree(x, wavelet, 'symmetric', 2).get_level(2)]
    ours = wavelet_packet2(torch.tensor(x), wavelet, 2, 'symmetric')
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * np.abs(theirs).max())


@pytest.mark.parametrize('wavelet, mode', [('haar', 'zero'), ('db2', 'periodization'),
                                           ('bior2.2', 'reflect')])
def test_order_of_frequency(wavelet, mode):
    x = images(2, 24, 17)
    for level in (1, 2, 3):
        table = tree(x, wavelet, mode, level).get_level(level, 'freq')
        assert packet_paths(level, 'freq') == [[node.path for node in row] for row in table]
        theirs = np.moveaxis([[node.data for node in row] for row in table], 2, 0)
        ours = wavelet_packet2(torch.tensor(x), wavelet, level, mode, 'freq')
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)
        for few in range(1, 2**level):
            part = wavelet_packet2(torch.tensor(x), wavelet, level, mode, 'freq', few)
            torch.testing.assert_close(part, ours[:, :few, :few])
        back = iwavelet_packet2(ours, wavelet, mode, 'freq', (24, 17))
        np.testing.assert_allclose(back, x, rtol=0, atol=1e-10)


def test_paths_are_pywavelets():
    nodes = tree(np.zeros((8, 8)), 'haar', 'zero', 3).get_level(3)
    assert packet_paths(3) == [node.path for node in nodes]


def test_waves_of_rising_frequency_lie_in_rising_nodes():
    place = np.arange(64) + 0.5
    found = []
    for k in range(8):  # the middle of each eighth of the spectrum
        wave = np.cos(np.pi * (k + 0.5) / 8 * place)
        packets = wavelet_packet2(torch.tensor(np.outer(wave, np.ones(64))), 'db10', 3,
                                  'periodization', 'freq')
        energy = packets.square().sum((-1, -2))
        found.append(divmod(int(energy.argmax()), 8))
    assert found == [(k, 0) for k in range(8)]


def test_without_a_size_the_largest_images_come_back():
    packets = wavelet_packet2(torch.tensor(images(15, 16)), 'db2', 2)
    back = iwavelet_packet2(packets, 'db2')
    assert back.shape == (18, 18)
    assert iwavelet_packet2(packets, 'db2', size=(15, 16)).shape == (15, 16)


@pytest.mark.parametrize('call, message', [
    (lambda x: wavelet_packet2(x, order='sequency'), 'order must be one of natural, freq'),
    (lambda x: wavelet_packet2(x, level=0), 'level must be'),
    (lambda x: wavelet_packet2(x, frequencies=2), "with order='freq' alone"),
    (lambda x: wavelet_packet2(x, order='freq', frequencies=5), r'1 to 2\^level = 4, not 5'),
    (lambda x: iwavelet_packet2(x[:, :5]), r'4\^level nodes'),
    (lambda x: iwavelet_packet2(x[:4, :2], order='freq'), r'2\^level x 2\^level nodes'),
    (lambda x: iwavelet_packet2(x[:, :4], size=(30, 16)), r'\(15, 8\) on level 1, not of \(8, 8\)'),
    (lambda x: packet_paths(0), 'level must be'),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(8, 8, 8, 8))
