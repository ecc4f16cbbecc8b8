import numpy as np
import pytest
import pywt
import torch

from mmwamim.wavelets import Subbands, dwt2, idwt2, wavedec2, waverec2

WAVELETS = ['haar', 'db2', 'db4', 'sym5', 'coif1', 'bior2.2', 'bior1.3', 'rbio3.1', 'dmey']
SIZES = [(32, 48), (7, 9), (33, 20), (64, 64)]


def images(height, width, seed=0):
    return np.random.default_rng(seed).standard_normal((2, 3, height, width))


def assert_equal_to_pywt(x, wavelet, mode, level, dtype=torch.float32, tolerance=1e-5):
    reference = pywt.wavedec2(x, wavelet, mode, level, axes=(-2, -1))
    ours = wavedec2(torch.tensor(x, dtype=dtype), wavelet, level, mode)
    pairs = [(ours[-1].approximation, reference[0])]
    for number, subbands in enumerate(ours):
        pairs += zip(subbands[1:], reference[level - number])
    pairs.append((waverec2(ours, wavelet, mode), pywt.waverec2(reference, wavelet, mode,
                                                                axes=(-2, -1))))
    scale = max(1, *(np.abs(theirs).max() for _, theirs in pairs))
    for mine, theirs in pairs:
        assert mine.dtype == dtype
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=0, atol=tolerance * scale)
    return ours


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('mode', pywt.Modes.modes)
@pytest.mark.parametrize('wavelet', WAVELETS)
def test_equals_pywavelets(wavelet, mode):
    for size in SIZES:
        for level in (1, 3):
            if mode == 'smooth' and wavelet == 'dmey' and level > 1:
                continue  # extrapolates 60 values: 1e6 and beyond, more than float32 resolves
            assert_equal_to_pywt(images(*size), wavelet, mode, level)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('wavelet', pywt.wavelist(kind='discrete'))
def test_every_discrete_wavelet(wavelet):
    ours = assert_equal_to_pywt(images(20, 27), wavelet, 'symmetric', 2)
    if wavelet != 'dmey':  # which is only approximately orthogonal
        back = waverec2(ours, wavelet, 'symmetric')[..., :20, :27]
        np.testing.assert_allclose(back, images(20, 27), rtol=0, atol=5e-5)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('mode', [m for m in pywt.Modes.modes if 'reflect' not in m])
def test_signals_of_one_value(mode):
    assert_equal_to_pywt(images(1, 5), 'db3', mode, 1)


@pytest.mark.filterwarnings('ignore')
def test_float64_keeps_its_precision():
    assert_equal_to_pywt(images(33, 20), 'db4', 'reflect', 2, torch.float64, 1e-12)


def test_haar_by_hand():
    x = torch.tensor([[1., 2.], [3., 5.]]).view(1, 1, 2, 2)
    assert [band.item() for band in dwt2(x)] == [5.5, -2.5, -1.5, 0.5]


def test_haar_butterfly_equals_the_filters_it_replaces():
    x = torch.tensor(images(32, 32), dtype=torch.float32)
    # An odd size cannot take the butterfly; its even part has the same values.
    odd = torch.cat([x, x[..., -1:]], dim=-1)
    for fast, slow in zip(dwt2(x, 'haar'), dwt2(odd, 'haar')):
        torch.testing.assert_close(fast, slow[..., :16], rtol=0, atol=1e-6)


def test_five_levels_of_a_training_image_size():
    assert_equal_to_pywt(images(224, 160), 'haar', 'zero', 5)


def test_unwanted_details_are_left_out_and_the_others_unchanged():
    x = torch.tensor(images(32, 32), dtype=torch.float32)
    full, part = wavedec2(x, level=3), wavedec2(x, level=3, detail_levels=(2, 3))
    assert part[0] == Subbands(None, None, None, None)
    for level in (1, 2):
        for ours, theirs in zip(part[level], full[level]):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
def test_autocast_changes_nothing(wavelet):
    x = torch.tensor(images(16, 16), dtype=torch.float32)
    plain = wavedec2(x, wavelet, 2)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cast = wavedec2(x, wavelet, 2)
        back = waverec2(cast, wavelet)
    for ours, theirs in zip(cast, plain):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float16, torch.bfloat16])
def test_other_number_types_become_float32(dtype):
    x = torch.arange(16).view(1, 1, 4, 4).to(dtype)
    assert torch.equal(dwt2(x).approximation, dwt2(x.float()).approximation)
    assert dwt2(x, 'db2').diagonal.dtype == torch.float32


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
def test_gradients(wavelet):
    x = torch.tensor(images(4, 6)[:1, :1], requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: tuple(dwt2(t, wavelet)), x)
    assert torch.autograd.gradcheck(lambda t: idwt2(dwt2(t, wavelet), wavelet), x)


@pytest.mark.parametrize('call, message', [
    (lambda x: dwt2(x, 'harr'), "unknown wavelet 'harr'"),
    (lambda x: dwt2(x, mode='mirror'), "unknown mode 'mirror'"),
    (lambda x: wavedec2(x, level=0), 'level must be'),
    (lambda x: wavedec2(x, level=2, detail_levels=(3, )), 'detail_levels'),
    (lambda x: dwt2(x[0]), r'\(B, C, H, W\)'),
    (lambda x: idwt2(Subbands(x, None, x, x)), 'horizontal is None'),
    (lambda x: waverec2(wavedec2(x, level=2, detail_levels=(2, ))), 'level 1 are None'),
    (lambda x: waverec2([]), 'at least one level'),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(1, 1, 8, 8))
