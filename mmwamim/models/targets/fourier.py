"""Spectra of cells, and low- or high-pass images, as reconstruction targets."""
import math
from typing import List, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwamim.registry import MODELS

from .base import TargetGenerator
from .normalise import check_eps, check_norm, check_strides, normalise

REPRESENTATIONS = ('real_imaginary', 'magnitude_phase')


@MODELS.register_module()
class FourierTargetGenerator(TargetGenerator):
    """The two-dimensional discrete Fourier transform of every cell.

    A cell of s x s real pixels has s x (s // 2 + 1) complex coefficients (those of
    ``numpy.fft.rfft2`` with ``norm='ortho'``; the others are their conjugates).

    Channels of a cell: all image channels, each with its coefficients in raster order; first
    the real parts or magnitudes of all of them, then the imaginary parts or phases.

    Source: the Fourier target that WaMIM compares with; its details are not given there.

    Args:
        grid_strides: Pixels a cell, one entry a level, finest first, each a multiple of the one
            before, at least 2.
        representation: 'real_imaginary' or 'magnitude_phase' (phases divided by pi, in
            [-1, 1]).
        norm: 'token': zero mean and unit variance over the coefficients of each cell (over the
            magnitudes alone with 'magnitude_phase'); 'none'.
        in_channels: Channels of the images.
        eps: Added to the variance.

    Raises:
        ValueError: A field has no such value.

    Examples:
        >>> target = FourierTargetGenerator(grid_strides=(4, ))
        >>> target(torch.rand(1, 3, 8, 8))[0].shape[-2:]
        torch.Size([2, 2])
    """

    def __init__(self,
                 grid_strides: Sequence[int] = (4, 8, 16, 32),
                 representation: str = 'real_imaginary',
                 norm: str = 'token',
                 in_channels: int = 3,
                 eps: float = 1e-6) -> None:
        strides = check_strides(grid_strides)
        if strides[0] < 2:
            raise ValueError(f'grid_strides must be at least 2, not {strides}')
        if representation not in REPRESENTATIONS:
            raise ValueError(f'representation must be one of {", ".join(REPRESENTATIONS)}, not '
                             f'{representation!r}')
        check_norm(norm, ('token', 'none'))
        check_eps(eps)
        super().__init__(in_channels, strides,
                         [2 * in_channels * s * (s // 2 + 1) for s in strides])
        self.representation = representation
        self.norm = norm
        self.eps = eps

    def generate(self, images: Tensor) -> List[Tensor]:
        return [self._level(images, stride) for stride in self.grid_strides]

    def _level(self, images: Tensor, stride: int) -> Tensor:
        # (B, C, rows, s, cols, s) -> (B, C, rows, cols, s, s // 2 + 1)
        cells = images.unflatten(3, (-1, stride)).unflatten(2, (-1, stride)).transpose(3, 4)
        spectrum = torch.fft.rfft2(cells, norm='ortho')
        # (B, C, rows, cols, coefficients) -> (B, C * coefficients, rows, cols)
        spectrum = spectrum.flatten(4).permute(0, 1, 4, 2, 3).flatten(1, 2)
        if self.representation == 'real_imaginary':
            parts = torch.cat([spectrum.real, spectrum.imag], dim=1)
            return normalise(parts, self.norm, self.eps)
        magnitude = normalise(spectrum.abs(), self.norm, self.eps)
        return torch.cat([magnitude, spectrum.angle() / math.pi], dim=1)


@MODELS.register_module()
class FrequencyPassTargetGenerator(TargetGenerator):
    """The pixels of low- or high-pass filtered images.

    Frequencies count as low within a circle around the zero frequency, as in MFM.

    Source: Xie et al., "Masked Frequency Modeling for Self-Supervised Visual Pre-Training".

    Args:
        passes: 'low' or 'high' for each level.
        radius: Of the circle, in cycles an image, one number for each level; MFM has 16 at
            224 px.
        grid_strides: Pixels a cell, one entry a level, finest first, each a multiple of the one
            before.
        norm: 'token': zero mean and unit variance over the values of each cell; 'none'.
        in_channels: Channels of the images.
        eps: Added to the variance.

    Raises:
        ValueError: A field has no such value, or not one entry a level.

    Examples:
        >>> target = FrequencyPassTargetGenerator(('high', 'low'), (4., 4.), grid_strides=(4, 8))
        >>> [level.shape for level in target(torch.rand(1, 3, 16, 16))]  # 3 colours of 4 x 4, 8 x 8
        [torch.Size([1, 48, 4, 4]), torch.Size([1, 192, 2, 2])]
    """

    def __init__(self,
                 passes: Sequence[str] = ('high', 'high', 'low', 'low'),
                 radius: Sequence[float] = (16., 16., 16., 16.),
                 grid_strides: Sequence[int] = (4, 8, 16, 32),
                 norm: str = 'none',
                 in_channels: int = 3,
                 eps: float = 1e-6) -> None:
        strides = check_strides(grid_strides)
        if not len(passes) == len(radius) == len(strides):
            raise ValueError(f'passes, radius and grid_strides need one entry a level, but have '
                             f'{len(passes)}, {len(radius)} and {len(strides)}')
        if set(passes) - {'low', 'high'}:
            raise ValueError(f"passes must be 'low' or 'high' for each level, not {passes}")
        if min(radius) < 0:
            raise ValueError(f'radius must not be negative: {tuple(radius)}')
        check_norm(norm, ('token', 'none'))
        check_eps(eps)
        super().__init__(in_channels, strides, [in_channels * s * s for s in strides])
        self.passes = tuple(passes)
        self.radius = tuple(radius)
        self.norm = norm
        self.eps = eps

    def generate(self, images: Tensor) -> List[Tensor]:
        spectrum = torch.fft.rfft2(images)
        levels = []
        for which, radius, stride in zip(self.passes, self.radius, self.grid_strides):
            keep = low_frequencies(images.shape[-2:], radius, images.device)
            keep = keep if which == 'low' else ~keep
            filtered = torch.fft.irfft2(spectrum * keep, s=images.shape[-2:])
            cells = F.pixel_unshuffle(filtered, stride)
            levels.append(normalise(cells, self.norm, self.eps))
        return levels


def low_frequencies(size: Tuple[int, int], radius: float, device=None,
                    closed: bool = True) -> Tensor:
    """Which coefficients of ``rfft2`` lie within a circle around the zero frequency.

    Args:
        size: Height and width of the image.
        radius: In cycles an image.
        device: Where to put the result.
        closed: Whether the circle itself belongs to the low frequencies.

    Returns:
        bool (H, W // 2 + 1).
    """
    height, width = size
    rows = torch.fft.fftfreq(height, 1 / height, device=device)
    cols = torch.fft.rfftfreq(width, 1 / width, device=device)
    return rows[:, None]**2 + cols**2 <= radius**2 + (1e-6 if closed else -1e-6)
