"""Wavelet coefficients of several levels as reconstruction targets."""
from typing import List, Sequence

import pywt
import torch
from torch import Tensor

from mmwamim.registry import MODELS
from mmwamim.wavelets import Subbands, wavedec2, waverec2

from .base import TargetGenerator
from .normalise import check_norm, normalise, statistics

APPROXIMATION = ('coarsest', 'all', 'none')


@MODELS.register_module()
class WaveletTargetGenerator(TargetGenerator):
    """The subbands of selected levels of a discrete wavelet transform.

    Source: WaMIM, Eq. 6. What the paper's text leaves open (which subbands, which normalisation)
    is a field here, with the assumptions listed in docs/method.md.

    Channels of a level, in this order: the approximation if it is part of the target, then
    horizontal, vertical and diagonal details, each with all image channels.

    Args:
        wavelet: Discrete wavelet of PyWavelets.
        levels: Selected levels, finest first; level k has cells of 2^k pixels.
        approximation: Which levels carry their approximation: the 'coarsest', 'all', or 'none'.
        norm: 'token': zero mean and unit (unbiased) variance over the channels of each position,
            as MAE does for the pixels of a patch; 'subband': the same over the positions of each
            image and channel; 'none'.
        in_channels: Channels of the images.
        mode: Signal extension. Only 'periodization' gives exactly H / 2^k cells for every
            wavelet; for Haar all modes are the same.
        eps: Added to the variance.

    Raises:
        ValueError: A field has no such value, or a wavelet and mode give other grid sizes.
    """

    def __init__(self,
                 wavelet: str = 'haar',
                 levels: Sequence[int] = (2, 3, 4, 5),
                 approximation: str = 'coarsest',
                 norm: str = 'token',
                 in_channels: int = 3,
                 mode: str = 'periodization',
                 eps: float = 1e-6) -> None:
        levels = tuple(levels)
        if not levels or list(levels) != sorted(set(levels)) or levels[0] < 1:
            raise ValueError(f'levels must be different integers from 1, finest first, such as '
                             f'(2, 3, 4, 5), not {levels}')
        check_norm(norm, ('token', 'subband', 'none'))
        for field, value, known in (('approximation', approximation, APPROXIMATION),
                                    ('mode', mode, pywt.Modes.modes)):
            if value not in known:
                raise ValueError(f'{field} must be one of {", ".join(known)}, not {value!r}')
        self._check_wavelet(wavelet, mode)
        bands = [4 if approximation == 'all' or (approximation == 'coarsest' and k == levels[-1])
                 else 3 for k in levels]
        super().__init__(in_channels,
                         grid_strides=[2**k for k in levels],
                         channels=[in_channels * count for count in bands],
                         level_names=[f'level{k}' for k in levels])
        self.wavelet = wavelet
        self.levels = levels
        self.approximation = approximation
        self.norm = norm
        self.mode = mode
        self.eps = eps

    @staticmethod
    def _check_wavelet(wavelet: str, mode: str) -> None:
        wavedec2(torch.zeros(1, 1, 2, 2), wavelet, level=1)  # an unknown name raises here
        if pywt.Wavelet(wavelet).dec_len > 2 and mode != 'periodization':
            raise ValueError(f"mode must be 'periodization' for wavelet {wavelet!r}: with "
                             f'{mode!r} the subbands are larger than H / 2^level')

    def decompose(self, images: Tensor) -> List[Subbands]:
        """The transform itself, of the selected levels only, not normalised."""
        coefficients = wavedec2(images, self.wavelet, self.levels[-1], self.mode,
                                detail_levels=self.levels)
        return [coefficients[level - 1] for level in self.levels]

    def generate(self, images: Tensor) -> List[Tensor]:
        return [normalise(self._stack(subbands, level), self.norm, self.eps)
                for subbands, level in zip(self.decompose(images), self.levels)]

    def reconstruct(self, predictions: Sequence[Tensor], images: Tensor) -> Tensor:
        """Puts predictions together to images by the inverse transform.

        What is borrowed from the true images, and must be said under a picture: mean and
        variance that ``norm`` took away, and the coarsest approximation where it is no part of
        the target. Details of unselected levels are zero.

        Args:
            predictions: As the targets, float32 (B, channels[i], ...) for each level.
            images: The true normalised images (B, in_channels, H, W).

        Returns:
            float32 images (B, in_channels, H, W), normalised like ``images``.
        """
        images = images.float()
        truth = dict(zip(self.levels, self.decompose(images)))
        predicted = dict(zip(self.levels, predictions))
        coefficients = []
        for level in range(1, self.levels[-1] + 1):
            if level in predicted:
                raw = self._stack(truth[level], level)
                mean, std = statistics(raw, self.norm, self.eps)
                bands = (predicted[level].float() * std + mean).split(self.in_channels, dim=1)
                approximation = bands[0] if len(bands) == 4 else truth[level].approximation
                coefficients.append(Subbands(approximation, *bands[-3:]))
            else:
                shape = (*images.shape[:2], images.shape[2] >> level, images.shape[3] >> level)
                coefficients.append(Subbands(None, *[images.new_zeros(shape)] * 3))
        return waverec2(coefficients, self.wavelet, self.mode)

    def _stack(self, subbands: Subbands, level: int) -> Tensor:
        coarsest = self.approximation == 'coarsest' and level == self.levels[-1]
        with_approximation = self.approximation == 'all' or coarsest
        return torch.cat(subbands if with_approximation else subbands[1:], dim=1)
