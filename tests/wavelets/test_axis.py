from types import SimpleNamespace

import numpy as np
import pytest
import pywt
import torch

from mmwamim.wavelets import axis, dwt2, idwt2, wavedec2, waverec2
from mmwamim.wavelets.axis import Step, analyse, synthesise
from mmwamim.wavelets.borders import extend
from mmwamim.wavelets.dwt import checked
from mmwamim.wavelets.filters import filters

WAVELETS = ['haar', 'db2', 'bior1.3', 'rbio3.1', 'sym5', 'dmey', 'db38']
MODES = pywt.Modes.modes


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize('mode', [mode for mode in MODES if mode != 'periodization'])
def test_borders_are_pywavelets(mode):
    for size in (1, 2, 3, 5):
        if size == 1 and 'reflect' in mode:
            continue
        x = noise(2, size)
        for left, right in [(0, 0), (1, 0), (0, 2), (4, 3), (13, 17)]:
            # pywt.pad fails on 'smooth' of one value and on several axes: a row at a time.
            name = 'constant' if mode == 'smooth' and size == 1 else mode
            theirs = [pywt.pad(row, (left + 1, right + 1), name)[1:-1] for row in x]
            ours = extend(torch.tensor(x), left, right, mode, -1)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
            ours = extend(torch.tensor(x.T[:, :, None]), left, right, mode, -3)[..., 0].T
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('wavelet', WAVELETS)
def test_both_ways_equal_pywavelets(wavelet, mode, way):
    step = Step(wavelet, mode)
    for size in (1, 2, 9, 12):
        if size == 1 and 'reflect' in mode:
            continue
        x = noise(3, size)
        theirs = pywt.dwt(x, wavelet, mode, axis=-1)
        ours = analyse(torch.tensor(x), step, 1)
        scale = max(1, np.abs(theirs).max())
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(synthesise(ours, step, 1), pywt.idwt(*theirs, wavelet, mode),
                                   rtol=0, atol=1e-11 * scale)
        torch.testing.assert_close(analyse(torch.tensor(x), step, 1, details=False)[0], ours[0])


def test_the_way_is_chosen_by_length():
    def is_product(size, wavelet='db2', dtype=torch.float32):
        return axis._is_product(torch.zeros(2, size, dtype=dtype), Step(wavelet), -1)

    assert is_product(224) and is_product(224, dtype=torch.float64) and is_product(1000, 'db8')
    assert not is_product(2000) and not is_product(2000, 'db38')


def bound(wavelet, level, taps):
    """What float32 can lose, as docs/wavelets.md says, in units of the largest value."""
    gain = max(np.abs(pair).sum() for pair in taps)
    length = filters(wavelet).length
    return 2 * level * (length + 1) * 2**-24 * gain**(2 * level)


@pytest.mark.parametrize('wavelet', pywt.wavelist(kind='discrete'))
def test_float32_keeps_the_stated_bound(wavelet, way):
    x = np.float32(noise(24, 29))
    bank = filters(wavelet)
    for mode in ('zero', 'symmetric', 'periodization'):
        theirs = pywt.wavedec2(np.float64(x), wavelet, mode, 2)
        ours = wavedec2(torch.tensor(x), wavelet, 2, mode)
        most = bound(wavelet, 2, bank.analysis) * np.abs(x).max()
        assert np.abs(ours[1].approximation.numpy() - theirs[0]).max() <= most
        for a, b in zip(ours[1][1:], theirs[1], strict=True):
            assert np.abs(a.numpy() - b).max() <= most
        bands = [band.float() for band in dwt2(torch.tensor(x), wavelet, mode)]
        exact = pywt.idwt2((bands[0].double().numpy(), [b.double().numpy() for b in bands[1:]]),
                           wavelet, mode)
        largest = max(band.abs().max() for band in bands)
        # Both halves of each axis are added up.
        most = 4 * bound(wavelet, 1, bank.synthesis) * largest
        assert np.abs(idwt2(bands, wavelet, mode).numpy() - exact).max() <= most


@pytest.mark.parametrize('precision', ['high', 'medium'])
def test_low_precision_of_products_does_not_reach_coefficients(precision):
    x = torch.tensor(noise(2, 64, 64), dtype=torch.float32)
    exact = wavedec2(x, 'db4', 3)
    try:
        torch.set_float32_matmul_precision(precision)  # bfloat16 products, for 'medium'
        assert not axis._is_product(x, Step('db4'), -1)
        assert axis._is_product(x.double(), Step('db4'), -1)
        found = wavedec2(x, 'db4', 3)
    finally:
        torch.set_float32_matmul_precision('highest')
    for ours, theirs in zip(found, exact, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def test_precision_of_products_before_torch_2_9(monkeypatch):
    """There the backends have no such setting, and torch one for all."""
    old = SimpleNamespace(matmul=SimpleNamespace())
    monkeypatch.setattr(torch.backends, 'mkldnn', old)
    monkeypatch.setattr(torch.backends, 'cuda', old)
    for precision, keeps in (('highest', True), ('high', False)):
        monkeypatch.setattr(torch, 'get_float32_matmul_precision', lambda value=precision: value)
        assert all(axis._keeps_float32(torch.device(kind)) == keeps for kind in ('cpu', 'cuda'))


@pytest.mark.parametrize('bank', [
    [[0, 1], [1, 0], [1, 0], [0, 1]],  # even and odd places, nothing filtered
    [[.5, .5], [0, 0], [.5, .5], [0, 0]],  # no details
    [[2], [3], [4], [5]]])
def test_filters_with_zeros(bank, way):
    own = pywt.Wavelet('own', bank)
    x = noise(2, 8)
    for mode in ('zero', 'symmetric', 'periodization'):
        theirs = pywt.dwt(x, own, mode)
        ours = analyse(torch.tensor(x), checked(own, mode), 1)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
        np.testing.assert_allclose(synthesise(ours, checked(own, mode), 1),
                                   pywt.idwt(*theirs, own, mode), rtol=0, atol=1e-12)


@pytest.mark.parametrize('mode', ['smooth', 'antireflect'])
@pytest.mark.parametrize('wavelet', ['haar', 'db2', 'sym20', 'dmey', 'bior3.1'])
def test_bound_where_the_signal_goes_on_beyond_its_largest_value(wavelet, mode, way):
    bank = filters(wavelet)
    rise = 2 * bank.length - 1
    for size in (8, 17):
        x = np.float32(np.where(noise(size, size) < 0, -1.1, 1.1))
        for level in (1, 2, 3):
            theirs = pywt.wavedec2(np.float64(x), wavelet, mode, level)
            ours = wavedec2(torch.tensor(x), wavelet, level, mode)[-1]
            most = bound(wavelet, level, bank.analysis) * rise**(2 * level) * np.abs(x).max()
            for a, b in zip(ours, (theirs[0], *theirs[1]), strict=True):
                assert np.abs(a.numpy() - b).max() <= most


@pytest.mark.parametrize('wavelet, mode', [('haar', 'zero'), ('db2', 'zero'), ('db2', 'symmetric'),
                                           ('db2', 'smooth'), ('bior2.2', 'periodization')])
def test_gradients_and_their_gradients(wavelet, mode, way):
    x = torch.tensor(noise(1, 4, 6), requires_grad=True)
    bands = [band.clone().requires_grad_() for band in dwt2(x.detach(), wavelet, mode)]

    def square(t):  # so that there is something left to derive twice
        return tuple(band.square() for band in dwt2(t, wavelet, mode))

    assert torch.autograd.gradcheck(square, x) and torch.autograd.gradgradcheck(square, x)
    assert torch.autograd.gradcheck(lambda *b: idwt2(b, wavelet, mode), bands)
    assert torch.autograd.gradcheck(
        lambda t: waverec2(wavedec2(t, wavelet, 2, mode), wavelet, mode), x)
