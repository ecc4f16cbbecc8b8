import numpy as np
import pytest
import pywt
import torch

from mmwamim.wavelets import dwtn, idwtn, wavedec2, wavedecn, waverecn
from mmwamim.wavelets.filters import filters

SIZES = {1: (19, ), 2: (8, 13), 3: (6, 9, 5)}


@pytest.mark.parametrize('ndim', SIZES)
@pytest.mark.parametrize('mode', pywt.Modes.modes)
@pytest.mark.parametrize('wavelet', ['haar', 'db3', 'bior2.2'])
def test_equals_pywavelets(wavelet, mode, ndim):
    x = np.random.default_rng(0).standard_normal((2, *SIZES[ndim]))
    axes = tuple(range(-ndim, 0))
    theirs = pywt.dwtn(x, wavelet, mode, axes=axes)
    ours = dwtn(torch.tensor(x), wavelet, mode, ndim)
    assert ours.keys() == theirs.keys()
    for word in theirs:
        np.testing.assert_allclose(ours[word], theirs[word], rtol=0, atol=1e-11)
    np.testing.assert_allclose(idwtn(ours, wavelet, mode),
                               pywt.idwtn(theirs, wavelet, mode, axes=axes), rtol=0, atol=1e-10)
    first, *details = pywt.wavedecn(x, wavelet, mode, 2, axes=axes)
    ours = wavedecn(torch.tensor(x), wavelet, 2, mode, ndim)
    np.testing.assert_allclose(ours[-1]['a' * ndim], first, rtol=0, atol=1e-10)
    for level, bands in zip(ours, details[::-1], strict=True):
        for word in bands:
            np.testing.assert_allclose(level[word], bands[word], rtol=0, atol=1e-10)
    back = waverecn(ours, wavelet, mode)[(slice(None), *map(slice, SIZES[ndim]))]
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-9)


@pytest.mark.parametrize('ndim', [1, 3])
@pytest.mark.parametrize('wavelet', ['haar', 'db2', 'bior3.1', 'rbio3.1', 'bior3.9', 'sym8'])
def test_float32_keeps_the_stated_bound(wavelet, ndim, way):
    bank, axes = filters(wavelet), tuple(range(-ndim, 0))

    def bound(level, taps):
        gain = max(np.abs(pair).sum() for pair in taps)
        return ndim * level * (bank.length + 1) * 2**-24 * gain**(ndim * level)

    # The signs of the filter that adds up to most, and no power of two.
    signs = np.sign(max(bank.analysis, key=lambda taps: np.abs(taps).sum()))[::-1]
    row = np.float32(np.tile(signs, 8)[:16])
    x = np.float32(1.1) * row
    for _ in range(ndim - 1):
        x = x[..., None] * row
    for mode in ('zero', 'symmetric', 'periodization'):
        for level in (1, 2):
            ours = wavedecn(torch.tensor(x), wavelet, level, mode, ndim)[-1]
            first, details, *_ = pywt.wavedecn(np.float64(x), wavelet, mode, level, axes=axes)
            for word, theirs in {'a' * ndim: first, **details}.items():
                error = np.abs(ours[word].numpy() - theirs).max()
                assert error <= bound(level, bank.analysis) * np.abs(x).max()
        bands = dwtn(torch.tensor(x), wavelet, mode, ndim)
        exact = pywt.idwtn({word: band.double().numpy() for word, band in bands.items()}, wavelet,
                           mode, axes=axes)
        largest = max(band.abs().max().item() for band in bands.values())
        error = np.abs(idwtn(bands, wavelet, mode).numpy() - exact).max()
        assert error <= 2**ndim * bound(1, bank.synthesis) * largest


def test_images_are_volumes_of_two_axes(way):
    x = torch.tensor(np.random.default_rng(0).standard_normal((3, 20, 15)))
    for ours, theirs in zip(wavedecn(x, 'db2', 2, ndim=2), wavedec2(x, 'db2', 2), strict=True):
        for word, band in zip(('aa', 'da', 'ad', 'dd'), theirs, strict=True):
            torch.testing.assert_close(ours[word], band)


@pytest.mark.parametrize('call, message', [
    (lambda x: dwtn(x, ndim=0), 'ndim must be'),
    (lambda x: dwtn(x[0, 0]), 'last 3 axes'),
    (lambda x: wavedecn(x, level=0), 'level must be'),
    (lambda x: dwtn(x, 'harr'), "unknown wavelet 'harr'"),
    (lambda x: idwtn({'aa': x, 'ad': x, 'da': x}), 'aa, ad, da, dd are needed, but dd is missing'),
    (lambda x: idwtn({'a': x, 'x': x}), 'needs the bands a, d, but has a, x'),
    (lambda x: waverecn([{'a': x, 'd': x}, {'d': x}]), 'level 2: a, d are needed, but a is'),
    (lambda x: waverecn([{'a': x, 'd': x}, {'a': x, 'd': x}]), 'not fit the details .* of level 1'),
    (lambda x: waverecn([]), 'at least one level'),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(4, 4, 4, 4))


@pytest.mark.parametrize('call, kind, message', [
    (lambda x: idwtn({'a': x, 'd': x[:1]}), ValueError, 'idwtn: .*a has .* and d '),
    (lambda x: idwtn([x, x]), TypeError, 'a dict of bands .* not a list'),
    (lambda x: waverecn({'a': x, 'd': x}), TypeError, 'a list with the bands .* not a dict'),
    (lambda x: waverecn([{'a': x}]), ValueError, 'waverecn, level 1: .* d is missing'),
    (lambda x: waverecn([{}, {'a': x, 'd': x}]), ValueError, 'waverecn, level 1: .* no bands'),
    (lambda x: idwtn({'a' * 40: x}), ValueError, 'the last 40 axes are transformed'),
    (lambda x: waverecn([{'d' * 40: x}]), ValueError, 'the last 40 axes are transformed'),
    (lambda x: idwtn({'': x}), ValueError, 'idwtn: there are no bands'),
    (lambda x: waverecn([None, {'a': x, 'd': x}]), TypeError, 'level 1: a dict .* not a NoneType'),
    (lambda x: waverecn([{'aa': x}, {'a': x, 'd': x}]), ValueError, 'level 1 needs the bands a, d'),
])
def test_bands_of_another_form_are_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call(torch.zeros(4, 4))
