"""Wavelet packets of several depths as reconstruction targets."""
from typing import List, Optional, Sequence

import torch
from torch import Tensor

from mmwamim.registry import MODELS
from mmwamim.wavelets import wavelet_packet2
from mmwamim.wavelets.numbers import whole

from .base import TargetGenerator, check_levels
from .normalise import check_compand

NORMS = ('contrast', 'none')


@MODELS.register_module()
class WaveletPacketTargetGenerator(TargetGenerator):
    r"""The wavelet packets of selected depths: details are split again, so that a cell of 2^k
    pixels knows the frequencies in it as finely as a local Fourier transform would.

    Channels of a level: the table of frequencies row by row, lowest first, each with all image
    channels. The first is the approximation.

    Source: Coifman & Wickerhauser, "Entropy-based algorithms for best basis selection", 1992.

    Args:
        wavelet: Discrete wavelet of PyWavelets.
        levels: Depths, finest first; level k has cells of 2^k pixels and at most 2^k x 2^k
            frequencies.
        frequencies: At most so many of them along each axis, the lowest.
        norm: 'contrast': divided by the transform's gain 2^level, the images' units; 'none'.
        compand: Bends the heavy tails of details, sign(x) log(1 + \|x\| / compand), or None.
        in_channels: Channels of the images.

    Raises:
        ValueError: A field has no such value.

    Examples:
        >>> target = WaveletPacketTargetGenerator(levels=(1, 2), frequencies=3)
        >>> [level.shape for level in target(torch.rand(2, 3, 8, 8))]
        [torch.Size([2, 12, 4, 4]), torch.Size([2, 27, 2, 2])]
    """

    def __init__(self,
                 wavelet: str = 'haar',
                 levels: Sequence[int] = (2, 3, 4, 5),
                 frequencies: int = 4,
                 norm: str = 'contrast',
                 compand: Optional[float] = 0.05,
                 in_channels: int = 3) -> None:
        levels = check_levels(levels, repeated=False)
        if norm not in NORMS:
            raise ValueError(f'norm must be one of {", ".join(NORMS)}, not {norm!r}')
        frequencies = whole(frequencies, 'frequencies', 1)
        check_compand(compand)
        wavelet_packet2(torch.zeros(1, 2, 2), wavelet, 1)  # an unknown name raises here
        counts = [min(frequencies, 2**k) for k in levels]
        super().__init__(in_channels, [2**k for k in levels],
                         [in_channels * count**2 for count in counts],
                         [f'level{k}' for k in levels])
        self.wavelet, self.levels = wavelet, levels
        self.frequencies = tuple(counts)
        self.norm, self.compand = norm, compand

    def generate(self, images: Tensor) -> List[Tensor]:
        return [self._level(images, k, count)
                for k, count in zip(self.levels, self.frequencies, strict=True)]

    def _level(self, images: Tensor, level: int, count: int) -> Tensor:
        table = wavelet_packet2(images, self.wavelet, level, 'periodization', order='freq',
                                frequencies=count)
        # (B, C, f, f, rows, cols) -> (B, f * f, C, rows, cols)
        bands = table.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
        if self.norm == 'contrast':
            bands = bands / 2**level
        if self.compand is not None:
            details = bands[:, 1:]
            bent = details.sign() * (details.abs() / self.compand).log1p()
            bands = torch.cat([bands[:, :1], bent], dim=1)
        return bands.flatten(1, 2)
