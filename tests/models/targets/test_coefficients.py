"""The normalisations against loops over positions, on coefficients of PyWavelets."""
import math

import numpy as np
import pytest
import pywt
import torch

from mmwamim.models import PixelTargetGenerator, WaveletTargetGenerator
from mmwamim.models.targets.coefficients import CoefficientNorm
from tests.support.models import noise

LEVELS = (1, 2, 4)
# Rotation to luma and chroma, worked out by hand: rows orthonormal.
LUMA_CHROMA = np.array([[1, 1, 1], [math.sqrt(1.5), 0, -math.sqrt(1.5)],
                        [math.sqrt(.5), -math.sqrt(2), math.sqrt(.5)]]) / math.sqrt(3)


def photographs(channels=3):
    """Images with a flat and a busy part, away from zero mean."""
    images = 0.2 * noise(2, channels, 32, 48).cumsum(-1) + 1
    images[..., :20] *= 0.05
    return images


def coefficients(images, levels=LEVELS):
    """(B, 4, colours, rows, cols) for each level, approximation first, float64."""
    current, found = np.asarray(images, dtype=np.float64), []
    for level in range(1, max(levels) + 1):
        current, details = pywt.dwt2(current, 'haar', 'periodization', axes=(-2, -1))
        found += [np.stack([current, *details], axis=1)] * levels.count(level)
    return found


def loop_scale(details, norm, level, window, groups, eps):
    """The root mean square that each detail is divided by, a position at a time."""
    batch, _, colours, rows, cols = details.shape
    cells = max(1, window // 2**level)
    scale = np.zeros((batch, colours, rows, cols))
    for b, c, row, col in np.ndindex(scale.shape):
        first = 0
        for size in groups:
            if c < first + size:
                group = slice(first, first + size)
                break
            first += size
        if norm == 'unit':
            top, left = row // cells * cells, col // cells * cells
            part = details[b, :, group, top:top + cells, left:left + cells]
        else:
            reach = cells // 2
            part = details[b, :, group, max(0, row - reach):row + reach + 1,
                           max(0, col - reach):col + reach + 1]
        scale[b, c, row, col] = math.sqrt((part**2).mean() + eps)
    return scale


@pytest.mark.parametrize('window', [1, 8, 16])
@pytest.mark.parametrize('colours', ['rgb', 'opponent'])
@pytest.mark.parametrize('norm', ['unit', 'neighbourhood'])
def test_local_energy_equals_loops(norm, colours, window):
    images = photographs()
    target = WaveletTargetGenerator(levels=LEVELS, norm=norm, approximation='none',
                                    colours=colours, window=window, eps=1e-3)
    pixels = images.double().numpy()
    if colours == 'opponent':
        pixels = np.einsum('oc,bchw->bohw', LUMA_CHROMA, pixels)
    groups = (3, ) if colours == 'rgb' else (1, 2)
    for ours, raw, level in zip(target(images), coefficients(pixels), LEVELS, strict=True):
        details = raw[:, 1:]
        expected = details / loop_scale(details, norm, level, window, groups, 1e-3)[:, None]
        np.testing.assert_allclose(ours, expected.reshape(ours.shape), rtol=1e-3, atol=1e-4)


def test_a_window_cut_off_by_the_border_is_a_window():
    images = noise(1, 1, 24, 40)
    target = WaveletTargetGenerator(levels=(1, 3), norm='unit', approximation='none', window=16,
                                    in_channels=1)
    details = coefficients(images, (1, 3))[0][:, 1:]
    expected = details / loop_scale(details, 'unit', 1, 16, (1, ), 1e-6)[:, None]
    np.testing.assert_allclose(target(images)[0], expected.reshape(1, 3, 12, 20), atol=1e-5)


@pytest.mark.parametrize('approximation', ['coarsest', 'all'])
@pytest.mark.parametrize('approximation_norm', ['colour', 'image'])
@pytest.mark.parametrize('norm', ['token', 'subband', 'unit', 'band', 'none'])
def test_approximations_apart(norm, approximation_norm, approximation):
    images = photographs()
    fields = dict(levels=LEVELS, norm=norm, approximation_norm=approximation_norm)
    target = WaveletTargetGenerator(approximation=approximation, **fields)
    alone = WaveletTargetGenerator(approximation='none', **fields)
    for ours, details, raw, level in zip(target(images), alone(images), coefficients(images),
                                         LEVELS, strict=True):
        torch.testing.assert_close(ours[:, -9:], details, rtol=1e-4, atol=1e-5)
        if approximation == 'all' or level == LEVELS[-1]:
            above = raw[:, 0]
            if approximation_norm == 'colour':
                expected = above / 2**level
            else:
                expected = (above - above.mean((2, 3), keepdims=True)) / np.sqrt(
                    above.var((2, 3), ddof=1, keepdims=True) + 1e-6)
            np.testing.assert_allclose(ours[:, :3], expected, rtol=1e-3, atol=1e-4)


def test_the_colour_of_a_flat_image_is_its_own_value():
    images = torch.tensor([-1., 0.5, 2.]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    target = WaveletTargetGenerator(norm='none', approximation='all', approximation_norm='colour')
    for level in target(images):
        torch.testing.assert_close(level[0, :3].mean((1, 2)), torch.tensor([-1., 0.5, 2.]))


def test_bands_are_divided_by_their_root_mean_square_over_all_batches():
    target = WaveletTargetGenerator(levels=LEVELS, norm='band', approximation='all', eps=0.)
    batches = [photographs() * scale for scale in (1, 2, 3)]
    for batch in batches:
        last = target(batch)
    found = [coefficients(batch) for batch in batches]
    for index in range(len(LEVELS)):
        square = np.mean([(batch[index]**2).mean((0, 3, 4)) for batch in found], axis=0)
        expected = found[-1][index] / np.sqrt(square)[None, :, :, None, None]
        np.testing.assert_allclose(last[index], expected.reshape(last[index].shape), rtol=1e-3,
                                   atol=1e-4)


def test_band_constants_stay_in_evaluation_and_travel_with_a_checkpoint():
    target = WaveletTargetGenerator(levels=LEVELS, norm='band')
    target(photographs())
    target.eval()
    before = target(photographs())
    target(7 * photographs())
    other = WaveletTargetGenerator(levels=LEVELS, norm='band').eval()
    other.load_state_dict(target.state_dict(), strict=True)
    for ours, theirs in zip(before, other(photographs()), strict=True):
        assert torch.equal(ours, theirs)


def test_band_constants_forget_after_a_thousand_steps():
    norm = CoefficientNorm((1, ), ((1, 1, 1), ), (False, ), 1, 'band', 'same', (1, ), 16, None, 0.)
    ones = torch.ones(1, 3, 1, 2, 2)
    for _ in range(1000):
        norm([ones])
    torch.testing.assert_close(norm.mean_square0, torch.ones(3, 1, 1, 1))
    norm([3 * ones])
    torch.testing.assert_close(norm.mean_square0, torch.full((3, 1, 1, 1), 0.999 + 0.001 * 9))


def test_companding_by_hand():
    images = torch.zeros(1, 1, 2, 2)
    images[0, 0, 0, 0] = 6.  # approximation and details are 3 each
    plain = dict(levels=(1, ), norm='none', in_channels=1)
    target = WaveletTargetGenerator(compand=0.5, **plain)
    assert target(images)[0].flatten().tolist() == pytest.approx([math.log(7)] * 4)
    assert target(-images)[0].flatten().tolist() == pytest.approx([-math.log(7)] * 4)


def test_band_weights_weigh_the_squared_error():
    images = photographs()
    plain = WaveletTargetGenerator(levels=LEVELS, norm='none')
    weighted = WaveletTargetGenerator(levels=LEVELS, norm='none', band_weights=(4, 1, 1, 0.25))
    for ours, theirs in zip(weighted(images), plain(images), strict=True):
        factors = [2.] * 3 * (ours.shape[1] == 12) + [1.] * 6 + [0.5] * 3
        torch.testing.assert_close(ours, theirs * torch.tensor(factors)[:, None, None])


def test_a_level_may_be_named_twice():
    images = photographs()
    target = WaveletTargetGenerator(levels=(1, 4, 4), norm='none')
    levels = target(images)
    assert target.level_names == ('level1', 'level4', 'level4b')
    assert target.channels == (9, 12, 12) and target.grid_strides == (2, 16, 16)
    assert torch.equal(levels[1], levels[2])


def test_all_generations_with_hue_are_normalised_pixels():
    """Haar is orthonormal: sums of products over a cell are those of its pixels without their
    mean, in whatever order the coefficients come."""
    images = photographs()
    fields = dict(approximation='all', norm='token', approximation_norm='hue', generations=4,
                  eps=0.)
    for level, ours in zip(LEVELS, WaveletTargetGenerator(levels=LEVELS, **fields)(images),
                           strict=True):
        pixels = PixelTargetGenerator(grid_strides=(2**level, ), eps=0.)(images)[0]
        count = pixels.shape[1]
        assert ours.shape == pixels.shape
        # (B, C, rows, cols) -> (B * rows * cols, C) and all pairs of cells
        ours, theirs = (t.movedim(1, -1).flatten(0, -2)[:40] for t in (ours, pixels))
        # MAE divides by the unbiased deviation.
        torch.testing.assert_close(ours @ ours.T, theirs @ theirs.T * count / (count - 1),
                                   rtol=1e-3, atol=1e-3 * count)


def test_generations_are_the_subtree():
    images = noise(1, 1, 8, 16)
    target = WaveletTargetGenerator(levels=(2, 3), norm='none', approximation='none',
                                    generations=2, in_channels=1)
    found = coefficients(images, (1, 2, 3))
    assert target.channels == (15, 15)
    for ours, own, finer in zip(target(images), found[1:], found[:-1], strict=True):
        rows, cols = own.shape[-2:]
        for r in range(rows):
            for c in range(cols):
                expected = [own[0, 1 + band, 0, r, c] for band in range(3)]
                expected += [finer[0, 1 + band, 0, 2 * r + y, 2 * c + x]
                             for band in range(3) for y in range(2) for x in range(2)]
                np.testing.assert_allclose(ours[0, :, r, c], expected, atol=1e-5)


def test_energy_of_finer_scales_is_their_root_mean_square_in_the_cell():
    images = photographs(2)
    target = WaveletTargetGenerator(levels=(1, 3), norm='none', approximation='none',
                                    generations=3, finer='energy', in_channels=2)
    found = coefficients(images, (1, 2, 3))
    assert target.channels == (6, 18)
    finest, coarse = target(images)
    np.testing.assert_allclose(finest, found[0][:, 1:].reshape(finest.shape), atol=1e-5)
    for r, c in np.ndindex(coarse.shape[-2:]):
        expected = [found[2][:, 1:, :, r, c].reshape(2, 6)]  # (B, bands, colours): as they are
        for scale, side in ((1, 2), (0, 4)):
            cell = found[scale][:, 1:, :, side * r:side * (r + 1), side * c:side * (c + 1)]
            expected.append(np.sqrt((cell**2).mean((-2, -1))).reshape(2, 6))
        np.testing.assert_allclose(coarse[:, :, r, c], np.concatenate(expected, 1), rtol=1e-4,
                                   atol=1e-5)


def test_contrast_is_in_the_units_of_images_at_every_level():
    """Half a plane that is brighter by d: neighbouring cells' mean colours differ by d, and so the
    details of the cells across the border are d / 2, whatever their level."""
    images = torch.zeros(1, 1, 16, 16)
    images[..., 15:] = 0.6  # within a cell of every level
    target = WaveletTargetGenerator(
        levels=(1, 3), norm='contrast', approximation='all', finer='energy',
        approximation_norm='colour', generations=3, in_channels=1)
    finest, coarse = target(images)
    assert target.channels == (4, 10)
    # [A, H, V, D]: of 2 columns one is bright
    np.testing.assert_allclose(finest[0, :, 0, -1], [0.3, 0, -0.3, 0], atol=1e-6)
    # of 8 columns one: A = 0.6 / 8, V_3 = -A; of the finer ones 1 in 2 and 1 in 4 cells: V_2 has
    # 0.15 in half of them, V_1 0.3 in a quarter
    expected = [0.075, 0, -0.075, 0, 0, 0.15 * 0.5**0.5, 0, 0, 0.3 * 0.25**0.5, 0]
    np.testing.assert_allclose(coarse[0, :, 0, -1], expected, atol=1e-6)
    bent = WaveletTargetGenerator(levels=(1, ), norm='contrast', approximation='all', compand=0.1,
                                  approximation_norm='colour', in_channels=1)(images)[0]
    np.testing.assert_allclose(bent[0, :, 0, -1], [0.3, 0, -math.log(4), 0], atol=1e-6)


def test_hue_is_the_approximation_without_brightness():
    images = photographs()
    target = WaveletTargetGenerator(levels=(3, ), norm='unit', approximation_norm='hue', window=8,
                                    eps=0.)
    raw = coefficients(images, (3, ))[0]
    raw[:, 0] -= raw[:, 0].mean(1, keepdims=True)
    expected = raw / np.sqrt((raw**2).mean((1, 2), keepdims=True))
    np.testing.assert_allclose(target(images)[0], expected.reshape(2, 12, 4, 6), rtol=1e-3,
                               atol=1e-4)
    grey = images[:, :1].expand(-1, 3, -1, -1)
    assert target(grey)[0][:, :3].abs().max() < 1e-3


def test_hue_is_what_is_left_without_brightness_in_either_colours():
    """The mean of the three colours is taken away; luma and chroma are a rotation of the rest."""
    images = photographs()
    fields = dict(levels=(1, 3), norm='none', approximation='all', approximation_norm='hue')
    plain = WaveletTargetGenerator(**fields)(images)
    rotated = WaveletTargetGenerator(colours='opponent', **fields)(images)
    for ours, turned, raw in zip(plain, rotated, coefficients(images, (1, 3)), strict=True):
        hue = raw[:, 0] - raw[:, 0].mean(1, keepdims=True)
        np.testing.assert_allclose(ours[:, :3], hue, atol=1e-5)
        np.testing.assert_allclose(turned[:, :3], np.einsum('oc,bchw->bohw', LUMA_CHROMA, hue),
                                   atol=1e-5)


@pytest.mark.parametrize('colours', ['rgb', 'opponent'])
def test_bands_of_hue_are_divided_by_their_own_root_mean_square(colours):
    """Not by that of brightness, which is several times as large and was taken away."""
    images = photographs() + 5 * noise(2, 1, 1, 1)
    fields = dict(levels=(1, 3), approximation='all', approximation_norm='hue', colours=colours)
    raw = WaveletTargetGenerator(norm='none', **fields)(images)
    ours = WaveletTargetGenerator(norm='band', eps=1e-12, **fields)(images)
    for level, plain in zip(ours, raw, strict=True):
        scale = (plain.square().mean((0, 2, 3), keepdim=True) + 1e-12).sqrt()
        torch.testing.assert_close(level, plain / scale, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('fields', [dict(norm='subband'),
                                    dict(norm='none', approximation_norm='image')])
def test_a_single_position_has_no_deviation(fields):
    target = WaveletTargetGenerator(levels=(2, 3), **fields)
    assert all(level.isfinite().all() for level in target(noise(1, 3, 8, 16)))
    with pytest.raises(ValueError, match='one value: use larger images, finer levels'):
        target(noise(1, 3, 8, 8))


FIELDS = [
    dict(norm='token', approximation_norm='colour'),
    dict(norm='token', approximation_norm='image', approximation='all'),
    dict(norm='unit', approximation_norm='image'),
    dict(norm='unit', approximation_norm='colour', colours='opponent', eps=2.5e-3),
    dict(norm='neighbourhood', approximation_norm='colour', window=8, approximation='all'),
    dict(norm='band', compand=0.5),
    dict(norm='band', colours='opponent', approximation='all'),
    dict(norm='unit', approximation='none', band_weights=(1, 2, 2, 0.5)),
    dict(norm='unit', approximation_norm='hue', approximation='all', generations=3),
    dict(norm='band', generations=2, band_weights=(1, 2, 3, 4), compand=1.),
    dict(norm='token', approximation_norm='hue', generations=2, colours='opponent'),
    dict(norm='contrast', compand=0.05, approximation='all', approximation_norm='colour'),
    dict(norm='contrast', generations=2, colours='opponent'),
    dict(norm='band', generations=4, finer='energy', compand=0.2, band_weights=(1, 2, 3, 4)),
]


@pytest.mark.parametrize('levels', [(1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 5)])
@pytest.mark.parametrize('fields', FIELDS)
def test_all_levels_reconstruct_the_image(fields, levels):
    images = noise(2, 3, 64, 96)
    target = WaveletTargetGenerator(levels=levels, **fields)
    target(images)
    target.eval()
    torch.testing.assert_close(target.reconstruct(target(images), images), images, rtol=0,
                               atol=1e-4)


@pytest.mark.parametrize('fields', [dict(norm='band'), dict(norm='none'), dict(norm='contrast'),
                                    dict(norm='band', compand=1., colours='opponent')])
def test_constants_borrow_nothing_from_the_image(fields):
    images, other = noise(2, 3, 32, 32), 5 * noise(2, 3, 32, 32, seed=1)
    target = WaveletTargetGenerator(levels=(1, 2, 3), **fields).eval()
    predictions = target(images)
    torch.testing.assert_close(target.reconstruct(predictions, other), images, rtol=0, atol=1e-3)


def test_colours_that_two_levels_predict_are_averaged():
    # Level 2 says that all is 1, level 1 that all is 3, neither has details: everything is 2.
    images = noise(1, 1, 8, 8)
    target = WaveletTargetGenerator(levels=(1, 2), in_channels=1, approximation='all',
                                    approximation_norm='colour', norm='contrast')
    predictions = [torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 2, 2)]
    for prediction, colour in zip(predictions, (3., 1.)):
        prediction[:, 0] = colour
    torch.testing.assert_close(target.reconstruct(predictions, images),
                               torch.full((1, 1, 8, 8), 2.), rtol=0, atol=1e-6)


@pytest.mark.parametrize('fields, message', [
    (dict(norm='unit'), "norm 'unit' cannot take approximations with approximation_norm='same'"),
    (dict(norm='subband', approximation_norm='hue'), "norm 'subband' cannot take approximations"),
    (dict(approximation_norm='mean'), 'approximation_norm must be one of same, hue, colour, image'),
    (dict(generations=0), 'generations must be an integer of at least 1, not 0'),
    (dict(finer='modulus'), 'finer must be one of coefficients, energy'),
    (dict(colours='hsv'), 'colours must be one of rgb, opponent'),
    (dict(colours='opponent', in_channels=1), 'needs in_channels = 3, not 1'),
    (dict(window=12), 'window must be a power of two'),
    (dict(compand=0.), 'compand must be positive'),
    (dict(band_weights=(1, 1, 1)), 'band_weights must be four positive numbers'),
    (dict(band_weights=(1, 0, 1, 1)), 'band_weights must be four positive numbers'),
    (dict(band_weights=(1, 1, 1, math.inf)), 'band_weights must be four positive numbers'),
    (dict(generations=1.5), 'generations must be an integer'),
    (dict(window=8.), 'window must be an integer'),
    (dict(compand=math.inf), 'compand must be positive'),
    (dict(levels=(2., 3.)), r'levels must be integers .* not \(2.0, 3.0\)'),
    (dict(levels=3), 'levels must be integers .* not 3'),
    (dict(eps=-1e-3), 'eps must be a finite number of at least 0, not -0.001'),
    (dict(eps=math.nan), 'eps must be a finite number of at least 0, not nan'),
    (dict(eps='1e-6'), "eps must be a finite number of at least 0, not '1e-6'"),
    (dict(compand='0.05'), "compand must be positive or None, not '0.05'"),
    (dict(compand=True), 'compand must be positive or None, not True'),
    (dict(band_weights=None), 'band_weights must be four positive numbers.*not None'),
    (dict(band_weights='1111'), "band_weights must be four positive numbers.*not '1111'"),
    (dict(in_channels=0), 'in_channels must be an integer of at least 1, not 0'),
    (dict(in_channels=True), 'in_channels must be an integer of at least 1, not True'),
    (dict(in_channels='3'), "in_channels must be an integer of at least 1, not '3'"),
])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        WaveletTargetGenerator(**fields)
