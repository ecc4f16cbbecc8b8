"""Wavelet coefficients of several levels as reconstruction targets."""
import math
from typing import List, Optional, Sequence

import pywt
import torch
import torch.nn.functional as F
from torch import Tensor

from mmwamim.registry import MODELS
from mmwamim.wavelets import Subbands, wavedec2, waverec2
from mmwamim.wavelets.filters import filters, key
from mmwamim.wavelets.numbers import whole

from .base import TargetGenerator, check_levels
from .coefficients import APPROXIMATION_NORMS, NORMS, CoefficientNorm
from .normalise import check_compand, check_eps, is_number

APPROXIMATION = ('coarsest', 'all', 'none')
FINER = ('coefficients', 'energy')
# Rows: what a grey picture consists of, red against blue, green against both; orthonormal.
OPPONENT = torch.tensor([[1., 1., 1.], [1., 0., -1.], [1., -2., 1.]])
OPPONENT /= OPPONENT.norm(dim=1, keepdim=True)


@MODELS.register_module()
class WaveletTargetGenerator(TargetGenerator):
    r"""The subbands of selected levels of a discrete wavelet transform.

    Source: WaMIM, Eq. 6. What the paper's text leaves open (which subbands, which normalisation)
    is a field here, with the assumptions listed in docs/method.md.

    Channels of a level, in this order: the approximation if it is part of the target, then
    horizontal, vertical and diagonal details, each with all image channels; of further
    generations likewise, each band with its positions in the cell in raster order, or with its
    energy in the cell.

    Haar with approximations, all generations, norm 'token' and approximation_norm 'hue' is, turned
    by an orthonormal matrix, what MAE's normalised pixels are.

    Args:
        wavelet: Discrete wavelet of PyWavelets.
        levels: Selected levels, finest first; level k has cells of 2^k pixels. A level may be
            named twice, for two layers to predict.
        approximation: Which levels carry their approximation: the 'coarsest', 'all', or 'none'.
        generations: How many scales of details a cell predicts: its own level's, and of the
            finer ones below those that lie in the cell (its subtree), down to level 1.
        finer: What is predicted of the further generations: their 'coefficients', or for each
            band and colour their 'energy', the root mean square over the cell. How strong an
            edge is can be told from afar where its sign cannot. It is a wavelet scattering of
            first order (Bruna & Mallat, "Invariant Scattering Convolution Networks"), whose
            logarithm is taken by 'contrast' or 'band' with ``compand``.
        norm: What the coefficients are divided by.

            - 'token': zero mean and unit (unbiased) variance over the channels of each position,
              as MAE does for the pixels of a patch;
            - 'subband': the same over the positions of each image and channel, two at least;
            - 'unit': the root mean square of the details, all subbands together, in the window
              (see ``window``) that holds the position; of cells larger than a window, in the cell;
            - 'neighbourhood': the same in a window around each position;
            - 'contrast': 2^level, which leaves differences of mean colours in the images' units;
              their size hardly depends on the level, since photographs look alike at all scales;
            - 'band': one constant for each subband and colour, its root mean square over the
              data: a running estimate, kept in buffers and so in checkpoints;
            - 'none'.
        approximation_norm: The same of approximations: 'same' as the details' (with them, for
            'token'; not for 'unit' and 'neighbourhood'); 'hue': the mean over the colours, which
            is brightness, is taken away, and what is left counts as details do; 'colour': divided
            by 2^level, which leaves the mean colour of the cell in the images' units; 'image':
            zero mean and unit variance over the positions of each image and channel.
        colours: 'rgb', as they come, or 'opponent': rotated to luma and two chroma channels
            first, whose details 'unit' and 'neighbourhood' normalise apart.
        window: Side in pixels of the region that 'unit' and 'neighbourhood' look at; the unit of
            the mask is the natural choice.
        compand: Bends the heavy tails of what is normalised, sign(x) log(1 + \|x\| / compand);
            with 'contrast' 0.05 is three grey levels, below which most is noise.
        band_weights: What the squared error of approximation, horizontal, vertical and diagonal
            details counts, by scaling the targets with the square root.
        in_channels: Channels of the images.
        mode: Signal extension. Only 'periodization' gives exactly H / 2^k cells for every
            wavelet; for Haar all modes are the same.
        eps: Added to the variance or mean square that is divided by, in the images' units. Keeps
            the noise of flat regions small: 0.05, three grey levels, squared is 2.5e-3.

    Raises:
        ValueError: A field has no such value, or a wavelet and mode give other grid sizes.

    Examples:
        >>> target = WaveletTargetGenerator(levels=(2, 3), approximation='all')
        >>> [level.shape for level in target(torch.rand(1, 3, 16, 16))]  # 4 subbands x 3 channels
        [torch.Size([1, 12, 4, 4]), torch.Size([1, 12, 2, 2])]
    """

    def __init__(self,
                 wavelet: str = 'haar',
                 levels: Sequence[int] = (2, 3, 4, 5),
                 approximation: str = 'coarsest',
                 norm: str = 'token',
                 in_channels: int = 3,
                 mode: str = 'periodization',
                 eps: float = 1e-6,
                 approximation_norm: str = 'same',
                 generations: int = 1,
                 finer: str = 'coefficients',
                 colours: str = 'rgb',
                 window: int = 16,
                 compand: Optional[float] = None,
                 band_weights: Sequence[float] = (1., 1., 1., 1.)) -> None:
        levels = check_levels(levels, repeated=True)
        for field, value, known in (('approximation', approximation, APPROXIMATION),
                                    ('norm', norm, NORMS),
                                    ('approximation_norm', approximation_norm,
                                     APPROXIMATION_NORMS),
                                    ('colours', colours, ('rgb', 'opponent')),
                                    ('finer', finer, FINER),
                                    ('mode', mode, pywt.Modes.modes)):
            if value not in known:
                raise ValueError(f'{field} must be one of {", ".join(known)}, not {value!r}')
        if approximation != 'none' and (norm, approximation_norm) in (
                ('unit', 'same'), ('neighbourhood', 'same'), ('subband', 'hue')):
            raise ValueError(f'norm {norm!r} cannot take approximations with '
                             f'approximation_norm={approximation_norm!r}: set another one, such '
                             "as 'colour'")
        generations = whole(generations, 'generations', 1)
        if colours == 'opponent' and in_channels != 3:
            raise ValueError(f"colours='opponent' needs in_channels = 3, not {in_channels}")
        window = whole(window, 'window', 1)
        if window & (window - 1):
            raise ValueError(f'window must be a power of two of pixels, not {window}')
        check_compand(compand)
        check_eps(eps)
        if not isinstance(band_weights, (list, tuple)) or len(band_weights) != 4 or not all(
                is_number(weight) and 0 < weight < math.inf for weight in band_weights):
            raise ValueError('band_weights must be four positive numbers, for approximation, '
                             f'horizontal, vertical and diagonal, not {band_weights!r}')
        self._check_wavelet(wavelet, mode)
        apart = [approximation == 'all' or (approximation == 'coarsest' and k == levels[-1])
                 for k in levels]
        below = [min(generations, k) for k in levels]
        sources = [[k] * first + [k - step for step in range(steps)
                                  for _ in range(3 * _values(finer, step))]
                   for k, first, steps in zip(levels, apart, below)]
        bands = [len(of_level) for of_level in sources]
        super().__init__(in_channels,
                         grid_strides=[2**k for k in levels],
                         channels=[in_channels * count for count in bands],
                         level_names=_names(levels))
        self.wavelet = wavelet
        self.levels = levels
        self.bands = tuple(bands)
        self.generations = tuple(below)
        self.with_approximation = tuple(apart)
        self.finer = finer
        # The finest level whose coefficients can be put together from predictions.
        self.finest_scale = levels[0] if finer == 'energy' else min(
            k - steps + 1 for k, steps in zip(levels, below))
        self.approximation = approximation
        self.approximation_norm = approximation_norm
        self.norm = norm
        self.colours = colours
        self.mode = mode
        self.coefficient_norm = CoefficientNorm(
            levels, sources, apart, in_channels, norm, approximation_norm,
            (1, 2) if colours == 'opponent' else (in_channels, ), window, compand, eps)
        self.register_buffer('rotation', OPPONENT.clone(), persistent=False)
        self.register_buffer('band_scale', torch.tensor(band_weights).sqrt()[:, None, None, None],
                             persistent=False)

    @staticmethod
    def _check_wavelet(wavelet: str, mode: str) -> None:
        if filters(key(wavelet)).length > 2 and mode != 'periodization':
            raise ValueError(f"mode must be 'periodization' for wavelet {wavelet!r}: with "
                             f'{mode!r} the subbands are larger than H / 2^level')

    def decompose(self, images: Tensor) -> List[Subbands]:
        """The transform itself, of the selected levels only, not normalised."""
        coefficients = self._transform(images.float())
        return [coefficients[level - 1] for level in self.levels]

    def _transform(self, images: Tensor) -> List[Subbands]:
        """All levels from the first; those of which nothing is predicted have no details."""
        wanted = {level - step for level, steps in zip(self.levels, self.generations)
                  for step in range(steps)}
        return wavedec2(images, self.wavelet, self.levels[-1], self.mode,
                        detail_levels=sorted(wanted))

    def generate(self, images: Tensor) -> List[Tensor]:
        normalised = self.coefficient_norm(self._subbands(self._transform(self._rotate(images))))
        return [(level * self._band_scale(index)).flatten(1, 2)
                for index, level in enumerate(normalised)]

    def _rotate(self, images: Tensor) -> Tensor:
        """To luma and chroma, if colours are 'opponent'."""
        if self.colours == 'rgb':
            return images
        return _turned(images, self.rotation)

    def _band_scale(self, index: int) -> Tensor:
        """What each band of a level is multiplied by, (bands, 1, 1, 1)."""
        first, *details = self.band_scale.split(1)
        parts = [first] * self.with_approximation[index]
        for step in range(self.generations[index]):
            parts += [band for band in details for _ in range(_values(self.finer, step))]
        return torch.cat(parts)

    def _subbands(self, coefficients: Sequence[Subbands]) -> List[Tensor]:
        """(B, bands, colours, rows, cols) for each level, not normalised."""
        wanted = {k - step for k, steps in zip(self.levels, self.generations)
                  for step in range(steps)}
        details = {k: torch.stack(coefficients[k - 1][1:], dim=1) for k in sorted(wanted)}
        squares = {k: bands.square().flatten(1, 2) for k, bands in details.items()
                   if self.finer == 'energy'}
        levels = []
        for k, steps, apart in zip(self.levels, self.generations, self.with_approximation):
            bands = [coefficients[k - 1].approximation[:, None]] if apart else []
            bands.append(details[k])
            if steps > 1 and self.finer == 'energy':
                energy = torch.cat([F.avg_pool2d(squares[k - step], 2**step)
                                    for step in range(1, steps)], dim=1)
                bands.append(energy.sqrt().unflatten(1, (-1, self.in_channels)))
            elif steps > 1:
                bands += [_in_cells(details[k - step], step) for step in range(1, steps)]
            levels.append(torch.cat(bands, dim=1))
        return levels

    def reconstruct(self, predictions: Sequence[Tensor], images: Tensor) -> Tensor:
        """Puts predictions together to images by the inverse transform.

        What is borrowed from the true images, and must be said under a picture: what ``norm``
        and ``approximation_norm`` took away (nothing, for 'band', 'colour' and 'none'), and the
        coarsest approximation where it is no part of the target. Details of unselected levels
        are zero, and those of which only the energy is predicted. A scale's approximation that
        is predicted, and also follows from the coarser levels, is the mean of both.

        Args:
            predictions: As the targets, float32 (B, channels[i], ...) for each level.
            images: The true normalised images (B, in_channels, H, W).

        Returns:
            float32 images (B, in_channels, H, W), normalised like ``images``.
        """
        images = images.float()
        coefficients = self._transform(self._rotate(images))
        truth = self._subbands(coefficients)
        # Of a scale that several levels predict, the level of that scale has the last word.
        approximations, details = {self.levels[-1]: coefficients[-1].approximation}, {}
        for index, prediction in enumerate(predictions):
            bands = prediction.float().unflatten(1, (self.bands[index], -1))
            bands = self.coefficient_norm.inverse(bands / self._band_scale(index), truth[index],
                                                  index)
            if self.with_approximation[index]:
                first, bands = bands.split([1, bands.shape[1] - 1], dim=1)
                approximations[self.levels[index]] = first[:, 0]
            for step in range(self.generations[index]):
                count = 3 * _values(self.finer, step)
                own, bands = bands.split([count, bands.shape[1] - count], dim=1)
                level = self.levels[index] - step
                if step == 0 or (level not in self.levels and self.finer == 'coefficients'):
                    # (B, 3 4^s, C, rows, cols) -> (B, 3, C 4^s, ...) -> (B, 3, C, rows 2^s, ...)
                    cells = own.unflatten(1, (3, -1)).transpose(2, 3).flatten(2, 3)
                    details[level] = F.pixel_shuffle(cells, 2**step).unbind(1)
        pixels = approximations[self.levels[-1]]
        for level in range(self.levels[-1], 0, -1):
            if level in approximations:
                pixels = (pixels + approximations[level]) / 2
            bands = details.get(level) or [torch.zeros_like(pixels)] * 3
            pixels = waverec2([Subbands(pixels, *bands)], self.wavelet, self.mode)
        if self.colours == 'opponent':  # orthonormal: the transpose is the inverse
            pixels = _turned(pixels, self.rotation.mT)
        return pixels


def _turned(colours: Tensor, matrix: Tensor) -> Tensor:
    """Another basis of the colours, in float32 under autocast too."""
    with torch.autocast(colours.device.type, enabled=False):
        return torch.einsum('oc,bchw->bohw', matrix, colours)


def _in_cells(details: Tensor, step: int) -> Tensor:
    """(B, 3, C, rows 2^s, cols 2^s) -> (B, 3 4^s, C, rows, cols), a band's positions in raster
    order."""
    cells = F.pixel_unshuffle(details.flatten(1, 2), 2**step)
    cells = cells.unflatten(1, (*details.shape[1:3], 4**step))
    return cells.transpose(2, 3).flatten(1, 2)


def _values(finer: str, step: int) -> int:
    """How many values a cell predicts of each band ``step`` scales below its own."""
    return 1 if finer == 'energy' else 4**step


def _names(levels: Sequence[int]) -> List[str]:
    """A name for each level; the second of a kind is 'level5b', the third 'level5c'."""
    return [f'level{level}' + ('' if level not in levels[:place]
                               else chr(ord('a') + levels[:place].count(level)))
            for place, level in enumerate(levels)]
