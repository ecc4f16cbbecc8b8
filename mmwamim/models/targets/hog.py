"""Histograms of oriented gradients of several cell sizes as reconstruction targets."""
import math
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwamim.registry import MODELS
from mmwamim.wavelets.numbers import whole

from .base import TargetGenerator
from .normalise import check_eps, check_strides

# Smoothing across the direction of the difference [-1, 0, 1].
SMOOTHING = dict(central=(0., 1., 0.), sobel=(1., 2., 1.))
COLOURS = ('each', 'strongest')
NORM = ('cell', 'none')


@MODELS.register_module()
class HOGTargetGenerator(TargetGenerator):
    """Histograms of oriented gradients, for images of any size and several cell sizes.

    The gradient of every pixel votes with its magnitude for the bin of its unsigned direction;
    a cell's histogram is the mean over its pixels, scaled to length one. With
    ``operator='central', colours='strongest'`` it is scikit-image's ``hog`` with blocks of one
    cell and ``block_norm='L2'``.

    Source: Dalal & Triggs, "Histograms of Oriented Gradients for Human Detection"; per colour
    and with Sobel gradients as target: Wei et al., "Masked Feature Prediction for
    Self-Supervised Visual Pre-Training" (MaskFeat; its Gaussian weighting is left out); on
    several levels: Wang et al., "Masked Image Modeling with Local Multi-Scale Reconstruction"
    (LocalMIM).

    Channels of a cell: its histograms in raster order, each with all colours, each with all
    bins.

    Args:
        grid_strides: Pixels a target cell, one entry a level, finest first, each a multiple of
            the one before or equal to it.
        bins: Directions between 0 and 180 degrees.
        histograms: Histograms along each side of a target cell; MaskFeat has 2 in a patch of 16.
        colours: A histogram for 'each' colour, or one that takes the 'strongest' gradient of
            all colours at every pixel.
        operator: 'sobel' or 'central' differences; the image is reflected at its borders.
        norm: 'cell': every histogram divided by its length; 'none'.
        bias: Adds a constant to each of the two derivatives, for each level another, drawn once,
            evenly, from [-1/3, 1/3], as torch starts the bias of a 3x3 convolution: LocalMIM has
            such a convolution a level. Kept in checkpoints.
        exchanged: Takes the direction from the axis of the rows on, as MaskFeat's and LocalMIM's
            code do by exchanging the arguments of atan2. Bins come in another order; for odd
            numbers their edges lie half a bin off, 10 degrees for 9.
        in_channels: Channels of the images.
        eps: Added, squared, to the squared length.

    Raises:
        ValueError: A field has no such value, or ``histograms`` does not divide a cell.

    Examples:
        >>> target = HOGTargetGenerator(grid_strides=(8, ))
        >>> [level.shape for level in target(torch.rand(1, 3, 16, 16))]
        [torch.Size([1, 27, 2, 2])]
    """

    def __init__(self,
                 grid_strides: Sequence[int] = (4, 8, 16, 32),
                 bins: int = 9,
                 histograms: int = 1,
                 colours: str = 'each',
                 operator: str = 'sobel',
                 norm: str = 'cell',
                 bias: bool = False,
                 exchanged: bool = False,
                 in_channels: int = 3,
                 eps: float = 1e-5) -> None:
        strides = check_strides(grid_strides)
        for field, value, known in (('colours', colours, COLOURS), ('norm', norm, NORM),
                                    ('operator', operator, SMOOTHING)):
            if value not in known:
                raise ValueError(f'{field} must be one of {", ".join(known)}, not {value!r}')
        check_eps(eps)
        bins = whole(bins, 'bins', 2)
        if histograms < 1 or any(stride % histograms for stride in strides):
            raise ValueError(f'histograms {histograms} must divide every cell of grid_strides '
                             f'{strides}')
        planes = in_channels if colours == 'each' else 1
        super().__init__(in_channels, strides,
                         [planes * bins * histograms**2] * len(strides))
        difference, smooth = torch.tensor([-1., 0., 1.]), torch.tensor(SMOOTHING[operator])
        # (2, 1, 3, 3): the derivative along rows and the one along columns
        self.register_buffer('kernels', torch.stack([
            difference[:, None] * smooth, smooth[:, None] * difference])[:, None], persistent=False)
        self.register_buffer('bias', (2 * torch.rand(len(strides), 2) - 1) / 3 if bias else None)
        self.exchanged = exchanged
        self.bins = bins
        self.histograms = histograms
        self.colours = colours
        self.operator = operator
        self.norm = norm
        self.eps = eps

    def generate(self, images: Tensor) -> List[Tensor]:
        derivatives = self._derivatives(images)
        if self.bias is not None:
            return [self._level(self._votes(derivatives, stride // self.histograms, bias))
                    for stride, bias in zip(self.grid_strides, self.bias)]
        # Averages of averages are the averages of the larger cells.
        votes = self._votes(derivatives, self.grid_strides[0] // self.histograms)
        return [self._level(F.avg_pool2d(votes, stride // self.grid_strides[0]))
                for stride in self.grid_strides]

    def _derivatives(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        """Along rows and along columns, (B, channels, H, W) each."""
        channels = images.shape[1]
        padded = F.pad(images, (1, 1, 1, 1), mode='reflect')
        return tuple(F.conv2d(padded, kernel.expand(channels, 1, 3, 3), groups=channels)
                     for kernel in self.kernels)

    def _votes(self, derivatives: Tuple[Tensor, Tensor], cell: int,
               bias: Optional[Tensor] = None) -> Tensor:
        """Histograms of cells, not normalised: (B, colours * bins, H / cell, W / cell)."""
        along_rows, along_cols = derivatives
        if bias is not None:
            along_rows, along_cols = along_rows + bias[0], along_cols + bias[1]
        magnitude = torch.hypot(along_rows, along_cols)
        legs = (along_cols, along_rows) if self.exchanged else (along_rows, along_cols)
        direction = torch.atan2(*legs).remainder(math.pi)
        if self.colours == 'strongest':
            magnitude, which = magnitude.max(dim=1, keepdim=True)
            direction = direction.gather(1, which)
        bins = (direction * (self.bins / math.pi)).floor().long() % self.bins
        # One bin after the other: a full-size map for each bin at once would be bins times as
        # large as the images.
        votes = torch.stack([F.avg_pool2d(magnitude * (bins == k), cell)
                             for k in range(self.bins)], dim=2)  # (B, colours, bins, rows, cols)
        return votes.flatten(1, 2)

    def _level(self, votes: Tensor) -> Tensor:
        """(B, colours * bins, rows, cols) of histograms -> one level of the target."""
        if self.norm == 'cell':
            votes = votes.unflatten(1, (-1, self.bins))
            length = (votes.square().sum(2, keepdim=True) + self.eps**2).sqrt()
            votes = (votes / length).flatten(1, 2)
        side = self.histograms
        # (B, colours * bins * side * side, ...) -> (B, side * side * colours * bins, ...)
        cells = F.pixel_unshuffle(votes, side).unflatten(1, (-1, side * side))
        return cells.transpose(1, 2).flatten(1, 2)
