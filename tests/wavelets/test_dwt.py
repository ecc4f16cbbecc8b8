import numpy as np
import pytest
import pywt
import torch
from PIL import Image

from mmwamim.wavelets import (
    Subbands,
    axis,
    dwt2,
    dwtn,
    idwt2,
    swt2,
    wavedec2,
    wavedecn,
    wavelet_packet2,
    waverec2,
)

WAVELETS = ['haar', 'db2', 'db4', 'sym5', 'coif1', 'bior2.2', 'bior1.3', 'rbio3.1', 'dmey', 'db38']
SIZES = [(32, 48), (7, 9), (33, 20), (1, 6), (13, 1)]
MODES = pywt.Modes.modes


def images(height, width, seed=0, channels=2):
    return np.random.default_rng(seed).standard_normal((2, channels, height, width))


def assert_close(mine, theirs, tolerance, scale):
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(mine.numpy(), theirs, rtol=0, atol=tolerance * scale)


def assert_equal_to_pywt(x, wavelet, mode, level, dtype=torch.float32, tolerance=1e-5):
    reference = pywt.wavedec2(x, wavelet, mode, level, axes=(-2, -1))
    ours = wavedec2(torch.tensor(x, dtype=dtype), wavelet, level, mode)
    assert len(ours) == level
    scale = max(1, np.abs(reference[0]).max(),
                *(np.abs(band).max() for details in reference[1:] for band in details))
    assert_close(ours[-1].approximation, reference[0], tolerance, scale)
    for number, subbands in enumerate(ours):
        assert all(band.dtype == dtype for band in subbands)
        for mine, theirs in zip(subbands[1:], reference[level - number], strict=True):
            assert_close(mine, theirs, tolerance, scale)

    back, theirs = waverec2(ours, wavelet, mode), pywt.waverec2(reference, wavelet, mode,
                                                                axes=(-2, -1))
    assert back.dtype == dtype
    assert_close(back, theirs, tolerance, scale)
    return back


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('wavelet', WAVELETS)
def test_equals_pywavelets(wavelet, mode):
    for size in SIZES:
        if 'reflect' in mode and 1 in size:
            continue  # there is nothing to reflect: see the test of these signals
        for level in range(1, 6):
            if level > 1 and (mode == 'smooth' or ('reflect' in mode and min(size) < 2**level)):
                continue  # 'smooth' extrapolates to values that float32 does not resolve
            assert_equal_to_pywt(images(*size), wavelet, mode, level)


@pytest.mark.parametrize('wavelet', pywt.wavelist(kind='discrete'))
def test_every_discrete_wavelet(wavelet):
    x = images(20, 27)
    back = assert_equal_to_pywt(x, wavelet, 'symmetric', 2)
    if wavelet != 'dmey':  # which is only approximately orthogonal
        np.testing.assert_allclose(back[..., :20, :27], x, rtol=0, atol=5e-5)


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('wavelet', [name for name in WAVELETS if name != 'dmey'])
def test_reconstruction_is_perfect(wavelet, mode):
    for height, width in [(16, 24), (9, 14)]:
        x = torch.tensor(images(height, width, channels=1))
        back = idwt2(dwt2(x, wavelet, mode), wavelet, mode)
        assert back.shape[-2:] == (height + height % 2, width + width % 2)
        torch.testing.assert_close(back[..., :height, :width], x, rtol=0, atol=1e-7)


@pytest.mark.parametrize('mode', ['reflect', 'antireflect'])
def test_a_single_value_has_no_reflection(mode):
    with pytest.raises(ValueError):
        pywt.dwt2(np.zeros((1, 8)), 'db3', mode)
    with pytest.raises(ValueError, match='at least 2 values'):
        dwt2(torch.zeros(1, 1, 1, 8), 'db3', mode)


def test_smooth_mode_on_several_levels():
    assert_equal_to_pywt(images(33, 20), 'db2', 'smooth', 3, torch.float64, 1e-9)


@pytest.mark.parametrize('wavelet', ['haar', 'db4', 'bior2.2'])
def test_float64_keeps_its_precision(wavelet):
    assert_equal_to_pywt(images(33, 20), wavelet, 'reflect', 2, torch.float64, 1e-12)
    assert_equal_to_pywt(images(32, 32), wavelet, 'periodization', 3, torch.float64, 1e-12)


def test_haar_by_hand():
    x = torch.tensor([[1., 2.], [3., 5.]]).view(1, 1, 2, 2)
    assert [band.item() for band in dwt2(x)] == [5.5, -2.5, -1.5, 0.5]


def test_haar_butterfly_equals_the_filters_it_replaces():
    x = torch.tensor(images(32, 32), dtype=torch.float32)
    # An odd size cannot take the butterfly; its even part has the same values.
    odd = torch.cat([x, x[..., -1:]], dim=-1)
    for fast, slow in zip(dwt2(x, 'haar'), dwt2(odd, 'haar'), strict=True):
        torch.testing.assert_close(fast, slow[..., :16], rtol=0, atol=1e-6)


@pytest.mark.parametrize('mode', MODES)
def test_haar_is_the_same_in_every_mode(mode):
    assert_equal_to_pywt(images(32, 64), 'haar', mode, 5)
    assert_equal_to_pywt(images(32, 64), 'db1', mode, 5)


def test_five_levels_of_a_training_image_size():
    assert_equal_to_pywt(images(224, 160), 'haar', 'zero', 5)


def test_the_input_is_not_written_to():
    for wavelet in ('haar', 'db2'):
        x = torch.tensor(images(16, 16), dtype=torch.float32)
        before = x.clone()
        waverec2(wavedec2(x, wavelet, 2), wavelet)
        assert torch.equal(x, before)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
@pytest.mark.parametrize('wanted', [(2, 3), (1, ), (3, ), (1, 3), ()])
def test_unwanted_details_are_left_out_and_the_others_unchanged(wavelet, wanted):
    x = torch.tensor(images(32, 40), dtype=torch.float32)
    full = wavedec2(x, wavelet, level=3)
    part = wavedec2(x, wavelet, level=3, detail_levels=wanted)
    for level in (1, 2, 3):
        if level in wanted:
            for ours, theirs in zip(part[level - 1], full[level - 1], strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
        else:
            assert part[level - 1][1:] == (None, None, None)
    torch.testing.assert_close(part[2].approximation, full[2].approximation, rtol=0, atol=1e-6)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
def test_autocast_changes_nothing(wavelet):
    x = torch.tensor(images(16, 18), dtype=torch.float32)
    plain = wavedec2(x, wavelet, 2)
    plain_back = waverec2(plain, wavelet)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        cast = wavedec2(x, wavelet, 2)
        cast_back = waverec2(cast, wavelet)
        one = idwt2(dwt2(x, wavelet), wavelet)
    for ours, theirs in zip(cast, plain, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert torch.equal(cast_back, plain_back)
    torch.testing.assert_close(one, x, rtol=0, atol=1e-5)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
def test_any_leading_dimensions(wavelet):
    x = torch.tensor(images(12, 10))
    whole = wavedec2(x, wavelet, 2)
    for ours, theirs in zip(wavedec2(x[0, 1], wavelet, 2), whole, strict=True):  # (H, W)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b[0, 1])
    more = x[:, :, None, None].expand(2, 2, 3, 1, 12, 10)
    back = waverec2(wavedec2(more, wavelet, 2), wavelet)
    torch.testing.assert_close(back, more)
    found = wavedec2(more, wavelet, 2)[1].diagonal
    torch.testing.assert_close(found[:, :, 2, 0], whole[1].diagonal)


@pytest.mark.parametrize('call, message', [
    (lambda x: dwt2(x, 'harr'), "unknown wavelet 'harr'"),
    (lambda x: dwt2(x, 'mexh'), "unknown wavelet 'mexh'"),
    (lambda x: idwt2(dwt2(x), 'harr'), "unknown wavelet 'harr'"),
    (lambda x: dwt2(x, mode='mirror'), "unknown mode 'mirror'"),
    (lambda x: waverec2(wavedec2(x, level=1), mode='mirror'), "unknown mode 'mirror'"),
    (lambda x: wavedec2(x, level=0), 'level must be .* not 0'),
    (lambda x: wavedec2(x, level=2.), 'level must be'),
    (lambda x: wavedec2(x, level=True), 'level must be .* not True'),
    (lambda x: dwt2(x, mode=9), 'unknown mode 9'),
    (lambda x: dwt2(x, mode=True), 'unknown mode True'),
    (lambda x: wavedec2(x, level=2, detail_levels='2'), "each of detail_levels must be .* not '2'"),
    (lambda x: wavedec2(x, level=2, detail_levels=(1, 2.)), 'each of detail_levels must be .* 2.0'),
    (lambda x: wavedec2(x, level=2, detail_levels=(3, )), r'detail_levels \[3\]'),
    (lambda x: dwt2(x[0, 0, 0]), r'last 2 axes .* \(8,\)'),
    (lambda x: wavedec2(x[..., :0]), r'at least one value .* \(1, 1, 8, 0\)'),
    (lambda x: idwt2(Subbands(*[x[..., :3, :3]] * 4), 'db8'), 'of 3 values are too short'),
    (lambda x: idwt2(Subbands(x, None, x, None)), 'but horizontal, diagonal are missing'),
    (lambda x: waverec2(wavedec2(x, level=2, detail_levels=(2, ))),
     '^waverec2, level 1: .* but horizontal, vertical, diagonal are missing'),
    (lambda x: waverec2(wavedec2(x, level=2, detail_levels=(1, ))),
     '^waverec2, level 2: .* but horizontal, vertical, diagonal are missing'),
    (lambda x: waverec2([Subbands(None, x, x, x), Subbands(x, x, x, x)]), 'does not fit'),
    (lambda x: waverec2([]), 'at least one level'),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(1, 1, 8, 8))


def test_one_level_of_details_is_a_sequence_as_well():
    with pytest.raises(TypeError, match=r'detail_levels must be .* such as \(2, \), not 2'):
        wavedec2(torch.zeros(8, 8), level=2, detail_levels=2)


def test_families_named_for_an_unknown_wavelet_have_filters():
    with pytest.raises(ValueError) as told:
        dwt2(torch.zeros(8, 8), 'harr')
    assert '(families: haar, db, sym, coif, bior, rbio, dmey; all names' in str(told.value)


@pytest.mark.parametrize('mode', MODES)
def test_modes_may_be_the_numbers_that_pywavelets_has_for_them(mode):
    x = torch.tensor(images(7, 9))
    number = getattr(pywt.Modes, mode)
    for ours, theirs in zip(dwt2(x, 'db2', number), dwt2(x, 'db2', mode), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])
@pytest.mark.parametrize('kind, make', [
    ('sparse', lambda x: x.to_sparse()), ('sparse', lambda x: x.to_sparse_csr()),
    ('nested', lambda x: torch.nested.nested_tensor([x, x[:4]])),
    ('nested', lambda x: torch.nested.nested_tensor([x, x[:4]], layout=torch.jagged)),
    ('quantized', lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)),
])
def test_only_dense_tensors_are_taken(kind, make, wavelet):
    with pytest.raises(TypeError, match=f'^dwt2 takes dense tensors, not {kind} ones'):
        dwt2(make(torch.ones(8, 8)), wavelet)


@pytest.mark.parametrize('transform', [dwt2, wavedec2])
def test_only_real_tensors_are_taken(transform):
    name = transform.__name__
    with pytest.raises(TypeError, match=rf'^{name} takes torch tensors, not numpy.ndarray: .*'):
        transform(np.zeros((1, 1, 8, 8)))
    with pytest.raises(TypeError, match='not PIL.Image.Image'):
        transform(Image.new('L', (8, 8)))
    with pytest.raises(TypeError, match='not builtins.NoneType|not builtins.str'):
        transform('picture')
    with pytest.raises(TypeError, match=rf'^{name} takes real tensors, not torch.complex64'):
        transform(torch.zeros(1, 1, 8, 8, dtype=torch.complex64))


@pytest.mark.parametrize('inverse', [idwt2, waverec2])
def test_only_real_coefficients_are_taken(inverse):
    bands = Subbands(*(np.zeros((1, 1, 4, 4)) for _ in range(4)))
    with pytest.raises(TypeError, match=f'^{inverse.__name__} takes torch tensors'):
        inverse([bands] if inverse is waverec2 else bands)
    bands = Subbands(*(torch.zeros(1, 1, 4, 4, dtype=torch.complex128) for _ in range(4)))
    with pytest.raises(TypeError, match='real tensors'):
        inverse([bands] if inverse is waverec2 else bands)


@pytest.mark.parametrize('wavelet', ['haar', 'db2'])  # Haar's sums would broadcast
@pytest.mark.parametrize('shape', [(1, 1, 4, 4), (4, 4), (2, 3, 4, 1), (2, 3, 4, 5), (0, 3, 4, 4)])
def test_subbands_of_several_shapes_are_refused(wavelet, shape):
    bands = Subbands(*torch.zeros(4, 2, 3, 4, 4))
    for name in ('horizontal', 'vertical', 'diagonal'):
        wrong = bands._replace(**{name: torch.zeros(shape)})
        for inverse, coefficients, where in ((idwt2, wrong, 'idwt2'),
                                             (waverec2, [wrong], 'waverec2, level 1')):
            with pytest.raises(ValueError, match=f'^{where}: .*one shape|does not fit'):
                inverse(coefficients, wavelet)


@pytest.mark.parametrize('call, message', [
    # PyWavelets' order; one level alone; a batch of four images
    (lambda c: waverec2([c[1][0], c[1][1:], c[0][1:]]), 'level 1: Subbands.* not a Tensor'),
    (lambda c: waverec2([c[0], c[1][1:]]), 'level 2: Subbands.* not a tuple of 3'),
    (lambda c: waverec2(c[0]), 'waverec2: a list of Subbands.* not a Subbands'),
    (lambda c: waverec2([c[0], None]), 'level 2: .*not a NoneType'),
    (lambda c: idwt2((c[0][0], c[0][1:])), 'idwt2: Subbands.* not a tuple of 2'),
    (lambda c: idwt2(torch.zeros(4, 3, 8, 8)), 'idwt2: Subbands.* not a Tensor'),
])
def test_coefficients_in_another_order_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call(wavedec2(torch.zeros(8, 8), level=2))


@pytest.mark.parametrize('name', ['db3', 'bior2.2'])
def test_wavelets_of_ones_own(name, way):
    """Filters that no name of PyWavelets has: turned round, which mirrors what comes out."""
    own = pywt.Wavelet('own', [taps[::-1] for taps in pywt.Wavelet(name).filter_bank])
    x = images(11, 14)
    for mode in ('zero', 'antireflect', 'periodization'):
        theirs = pywt.wavedec2(x, own, mode, 2)
        ours = wavedec2(torch.tensor(x), own, 2, mode)
        np.testing.assert_allclose(ours[1].approximation, theirs[0], rtol=0, atol=1e-12)
        for level, details in zip(ours, theirs[:0:-1], strict=True):
            np.testing.assert_allclose(level[1:], details, rtol=0, atol=1e-12)
        np.testing.assert_allclose(waverec2(ours, own, mode), pywt.waverec2(theirs, own, mode),
                                   rtol=0, atol=1e-11)


def test_a_wavelet_is_known_by_its_filters_not_by_its_object():
    x = torch.tensor(images(11, 14))
    db2 = dwt2(x, 'db2')
    made = axis._analysis_matrix.cache_info().misses
    for wavelet in (pywt.Wavelet('db2'), 'DB2', pywt.Wavelet('DB2')):
        assert torch.equal(dwt2(x, wavelet).diagonal, db2.diagonal)
    impostor = pywt.Wavelet('db2', pywt.Wavelet('db3').filter_bank)
    for _ in range(2):
        again = pywt.Wavelet('x', impostor.filter_bank)
        torch.testing.assert_close(dwt2(x, impostor), dwt2(x, 'db3'))
        assert torch.equal(dwt2(x, again).diagonal, dwt2(x, impostor).diagonal)
    assert axis._analysis_matrix.cache_info().misses <= made + 4  # two sizes, twice


@pytest.mark.parametrize('wavelet, kind, message', [
    ('gaus1', ValueError, 'continuous'), (pywt.ContinuousWavelet('morl'), ValueError, 'continuous'),
    (['haar'], TypeError, r"name .* or a pywt.Wavelet, not \['haar'\]"), (None, TypeError, 'None'),
])
def test_what_is_no_discrete_wavelet_is_refused(wavelet, kind, message):
    with pytest.raises(kind, match=message):
        dwt2(torch.zeros(8, 8), wavelet)


def test_counts_may_be_numpys():
    x = torch.rand(8, 8)
    two = np.int64(2)
    assert torch.equal(wavedec2(x, level=two)[1].diagonal, wavedec2(x, level=2)[1].diagonal)
    for levels in ([two], np.array([2]), torch.tensor([2])):
        some = wavedec2(x, level=2, detail_levels=levels)
        assert some[0].diagonal is None and some[1].diagonal is not None
    assert torch.equal(dwtn(x, ndim=two)['dd'], dwtn(x, ndim=2)['dd'])
    assert torch.equal(swt2(x, 'haar', two)[1].diagonal, swt2(x, 'haar', 2)[1].diagonal)
    assert torch.equal(wavelet_packet2(x, level=two), wavelet_packet2(x, level=2))


@pytest.mark.parametrize('wavelet, shape', [
    ('haar', (16, 33)), ('haar', (2, 5)), ('db2', (24, 24)), ('db2', (23, 200)),
    ('sym4', (64, 57)), ('bior2.2', (11, 12)), ('coif1', (10, 40))])
def test_as_many_levels_as_pywavelets_takes_by_itself(wavelet, shape):
    x = torch.from_numpy(np.random.default_rng(3).standard_normal((2, *shape))).float()
    for expected, found in (
            (pywt.wavedec2(x.double().numpy(), wavelet, 'symmetric', axes=(1, 2)),
             wavedec2(x, wavelet, None, 'symmetric')),
            (pywt.wavedec(x.double().numpy(), wavelet, 'symmetric'),
             wavedecn(x, wavelet, None, 'symmetric', ndim=1))):
        assert len(found) == len(expected) - 1
        last = found[-1].approximation if isinstance(found[-1], Subbands) else found[-1]['a']
        np.testing.assert_allclose(last, expected[0], atol=1e-5)
    with pytest.raises(ValueError, match=r'level=None: the sizes \(5, 30\) are too small .* 8 tap'):
        wavedec2(torch.zeros(5, 30), 'db4', None)
