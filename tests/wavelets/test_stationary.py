import numpy as np
import pytest
import pywt
import torch

from mmwamim.wavelets import Subbands, iswt2, swt2


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def flat(theirs, trimmed):
    """PyWavelets' list, finest first, as Subbands."""
    if trimmed:
        theirs = [(theirs[0], theirs[1]), *((None, details) for details in theirs[2:])]
    return [Subbands(approximation, *details) for approximation, details in theirs[::-1]]


@pytest.mark.parametrize('trim', [False, True])
@pytest.mark.parametrize('norm', [False, True])
@pytest.mark.parametrize('wavelet', ['haar', 'db2', 'bior1.3', 'rbio3.1', 'sym5', 'db38'])
def test_equals_pywavelets(wavelet, norm, trim, way):
    x = images(2, 8, 24)
    for level in (1, 3):
        reference = pywt.swt2(x, wavelet, level, trim_approx=trim, norm=norm)
        ours = swt2(torch.tensor(x), wavelet, level, norm=norm, trim_approx=trim)
        theirs = flat(reference, trim)
        scale = max(1, np.abs(theirs[-1].approximation).max())
        for subbands, expected in zip(ours, theirs, strict=True):
            for a, b in zip(subbands, expected, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * scale)
        back = iswt2(ours, wavelet, norm=norm)
        np.testing.assert_allclose(back, pywt.iswt2(reference, wavelet, norm=norm), rtol=0,
                                   atol=1e-10 * scale)


@pytest.mark.parametrize('wavelet', pywt.wavelist(kind='discrete'))
def test_every_discrete_wavelet(wavelet):
    x = np.float32(images(16, 8))
    theirs = flat(pywt.swt2(np.float64(x), wavelet, 2), False)
    ours = swt2(torch.tensor(x), wavelet, 2)
    scale = np.abs(theirs[-1].approximation).max()
    for subbands, expected in zip(ours, theirs, strict=True):
        for a, b in zip(subbands, expected, strict=True):
            assert a.dtype == torch.float32
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * scale)


def test_skipped_levels(way):
    x = torch.tensor(images(3, 16, 32))
    theirs = flat(pywt.swt2(x.numpy(), 'db2', 2, start_level=2), False)
    ours = swt2(x, 'db2', 2, start_level=2)
    for subbands, expected in zip(ours, theirs, strict=True):
        for a, b in zip(subbands, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    torch.testing.assert_close(iswt2(ours, 'db2', start_level=2), x)


def test_it_moves_with_the_image_and_norm_keeps_the_energy():
    x = torch.tensor(images(16, 16))
    for ours, moved in zip(swt2(x, 'db2', 2), swt2(x.roll((3, 5), (0, 1)), 'db2', 2), strict=True):
        for a, b in zip(ours, moved, strict=True):
            torch.testing.assert_close(a.roll((3, 5), (0, 1)), b)
    levels = swt2(x, 'db2', 3, norm=True, trim_approx=True)
    energy = sum(band.square().sum() for level in levels for band in level if band is not None)
    torch.testing.assert_close(energy, x.square().sum())


def test_gradients(way):
    x = torch.tensor(images(8, 4), requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: tuple(swt2(t, 'db2', 2)[1]), x)
    bands = [band.detach().requires_grad_() for band in swt2(x, 'db2', 1)[0]]
    assert torch.autograd.gradcheck(lambda *b: iswt2([Subbands(*b)], 'db2'), bands)


@pytest.mark.parametrize('call, message', [
    (lambda x: swt2(x, 'harr'), "unknown wavelet 'harr'"),
    (lambda x: swt2(x, level=0), 'level must be'),
    (lambda x: swt2(x, start_level=-1), 'start_level must be'),
    (lambda x: swt2(x, level=3), r'multiples of 2\^3 = 8 .* not \(12, 8\)'),
    (lambda x: iswt2([]), 'at least one level'),
    (lambda x: iswt2([Subbands(None, x, x, x)]), 'level 1: .* but approximation is'),
    (lambda x: iswt2([Subbands(x, x, None, x), Subbands(x, x, x, x)]), 'level 1: .* but vert'),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(12, 8))
