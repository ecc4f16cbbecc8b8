import numpy as np
import pytest
import pywt
import torch

from mmwamim.wavelets import (
    dwt2,
    dwtn,
    idwt2,
    iswt2,
    iwavelet_packet2,
    swt2,
    wavedec2,
    wavedecn,
    wavelet_packet2,
    waverec2,
    waverecn,
)

FORWARD = [dwt2, wavedec2, dwtn, wavedecn, wavelet_packet2, swt2]


def ramp(dtype):
    return torch.arange(200, 456).view(1, 1, 16, 16).to(dtype)


def leaves(data):
    return torch.utils._pytree.tree_leaves(data)


@pytest.mark.parametrize('transform', FORWARD)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype, transform):
    x = ramp(dtype)
    for wavelet in ('haar', 'db2'):
        fields = dict(ndim=2) if 'n' in transform.__name__ else {}
        fields |= dict(level=2) if transform is wavedec2 else {}
        ours, theirs = transform(x, wavelet, **fields), transform(x.float(), wavelet, **fields)
        for a, b in zip(leaves(ours), leaves(theirs), strict=True):
            assert a.dtype == dtype and b.dtype == torch.float32
            assert torch.equal(a, b.to(dtype))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_inverses_of_half_precision(dtype):
    x = ramp(dtype) / 400
    for there, back in [(lambda t: dwt2(t, 'db2'), lambda c: idwt2(c, 'db2')),
                        (lambda t: wavedec2(t, 'db2', 2), lambda c: waverec2(c, 'db2')),
                        (lambda t: wavedecn(t, 'db2', 2, ndim=2), lambda c: waverecn(c, 'db2')),
                        (lambda t: swt2(t, 'db2', 2), lambda c: iswt2(c, 'db2')),
                        (lambda t: wavelet_packet2(t, 'db2'),
                         lambda c: iwavelet_packet2(c, 'db2', size=(16, 16)))]:
        restored = back(there(x))
        assert restored.dtype == dtype
        torch.testing.assert_close(restored, x, rtol=0, atol=16 * torch.finfo(dtype).eps)


@pytest.mark.parametrize('transform', FORWARD)
def test_integers_become_float32(transform):
    x = torch.arange(256, dtype=torch.uint8).view(16, 16)
    fields = dict(ndim=2) if 'n' in transform.__name__ else {}
    fields |= dict(level=2) if transform is wavedec2 else {}
    for a, b in zip(leaves(transform(x, 'db2', **fields)),
                    leaves(transform(x.float(), 'db2', **fields)), strict=True):
        assert a.dtype == torch.float32 and torch.equal(a, b)


def test_mixed_types_are_promoted():
    bands = list(dwt2(torch.rand(8, 8), 'db2'))
    bands[1] = bands[1].double()
    assert idwt2(bands, 'db2').dtype == torch.float64


def test_double_computes_in_float64_and_rounds_once():
    x = np.float32(np.random.default_rng(0).standard_normal((40, 40)))
    theirs = pywt.wavedec2(np.float64(x), 'db4', 'periodization', 3)
    ours = wavedec2(torch.tensor(x), 'db4', 3, 'periodization', double=True)
    assert np.array_equal(ours[-1].approximation, np.float32(theirs[0]))
    wide = wavedec2(torch.tensor(x).double(), 'db4', 3, 'periodization')
    assert ours[0].diagonal.dtype == torch.float32 and wide[0].diagonal.dtype == torch.float64
    np.testing.assert_allclose(wide[-1].approximation, theirs[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize('transform', FORWARD)
def test_several_tensors_are_not_an_image(transform):
    with pytest.raises(TypeError, match='one tensor is transformed, not a list of them'):
        transform([torch.zeros(8, 8)])
    with pytest.raises(TypeError, match=f'^{transform.__name__} takes torch tensors, not numpy'):
        transform(np.zeros((8, 8)))
    with pytest.raises(TypeError, match='takes real tensors, not torch.complex64'):
        transform(torch.zeros(8, 8, dtype=torch.complex64))
