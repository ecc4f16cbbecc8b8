"""Pixels of cells of one or more sizes as reconstruction targets."""
from typing import List, Optional, Sequence

import torch.nn.functional as F
from torch import Tensor

from mmwamim.registry import MODELS
from mmwamim.wavelets.numbers import whole

from .base import TargetGenerator
from .normalise import check_eps, check_norm, check_strides, normalise, statistics


@MODELS.register_module()
class PixelTargetGenerator(TargetGenerator):
    """The pixels of every cell, as MAE predicts them for one cell size.

    Channels of a cell: its pixels in raster order, each with all image channels.

    Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", for one level; several
    levels are the obvious extension, against which WaMIM compares.

    Args:
        grid_strides: Pixels a cell, one entry a level, finest first, each a multiple of the one
            before.
        norm: 'token': zero mean and unit (unbiased) variance over the values of each cell, as
            MAE's ``norm_pix``; 'none'.
        samples: Averages a cell down to ``samples x samples`` values first; None keeps every
            pixel (and a cell of 32 px then has 3072 values).
        in_channels: Channels of the images.
        eps: Added to the variance.

    Raises:
        ValueError: A field has no such value, or ``samples`` does not divide a cell.

    Examples:
        >>> target = PixelTargetGenerator(grid_strides=(4, 8))
        >>> [level.shape for level in target(torch.rand(1, 3, 16, 16))]
        [torch.Size([1, 48, 4, 4]), torch.Size([1, 192, 2, 2])]
    """

    def __init__(self,
                 grid_strides: Sequence[int] = (4, 8, 16, 32),
                 norm: str = 'token',
                 samples: Optional[int] = None,
                 in_channels: int = 3,
                 eps: float = 1e-6) -> None:
        strides = check_strides(grid_strides)
        check_norm(norm, ('token', 'none'))
        check_eps(eps)
        if samples is not None and any(s % whole(samples, 'samples', 1) for s in strides):
            raise ValueError(f'samples {samples} must divide every cell of grid_strides {strides}')
        super().__init__(in_channels, strides,
                         [in_channels * (samples or stride)**2 for stride in strides])
        if norm == 'token' and self.channels[0] < 2:  # it would always be normalised to zero
            raise ValueError("norm 'token' needs at least two values a cell")
        self.norm = norm
        self.samples = samples
        self.eps = eps

    def generate(self, images: Tensor) -> List[Tensor]:
        return [normalise(self._cells(images, stride), self.norm, self.eps)
                for stride in self.grid_strides]

    def reconstruct(self, predictions: Sequence[Tensor], images: Tensor) -> Tensor:
        """The finest level as an image; borrows mean and variance that ``norm`` took away.

        Args:
            predictions: As the targets.
            images: The true normalised images (B, in_channels, H, W).

        Returns:
            float32 images (B, in_channels, H, W), normalised like ``images``.
        """
        stride = self.grid_strides[0]
        mean, std = statistics(self._cells(images.float(), stride), self.norm, self.eps)
        cells = predictions[0].float() * std + mean
        side = self.samples or stride
        # (B, side * side * C, rows, cols) -> (B, C, side, side, rows, cols) -> pixels
        batch, _, rows, cols = cells.shape
        cells = cells.view(batch, side, side, self.in_channels, rows, cols)
        pixels = cells.permute(0, 3, 4, 1, 5, 2).reshape(batch, self.in_channels, rows * side, -1)
        return F.interpolate(pixels, scale_factor=stride // side, mode='nearest')

    def _cells(self, images: Tensor, stride: int) -> Tensor:
        """(B, C, H, W) -> (B, side * side * C, H / stride, W / stride)."""
        if self.samples is not None and self.samples < stride:
            images = F.avg_pool2d(images, stride // self.samples)
        side = self.samples or stride
        # (B, C * side * side, ...) -> (B, side * side * C, ...)
        cells = F.pixel_unshuffle(images, side).unflatten(1, (-1, side * side))
        return cells.transpose(1, 2).flatten(1, 2)
