"""The contract of every reconstruction target."""
from abc import ABCMeta, abstractmethod
from operator import index
from typing import List, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmwamim.wavelets.numbers import whole


class TargetGenerator(nn.Module, metaclass=ABCMeta):
    """Maps images to what the decoders are to predict, one target a level, finest first.

    Decoders and head size themselves from the attributes below, so a new target is one file with
    one subclass that implements :meth:`generate`, and one line of config.

    Args:
        in_channels: Channels of the images.
        grid_strides: Pixels a target cell, one entry a level.
        channels: Channels of the target, one entry a level.
        level_names: What each level is called in the log (``loss_<name>``). Default: 'level0',
            'level1', ... by position.

    Raises:
        ValueError: The three lists differ in length or are empty, or ``in_channels`` is no
            positive integer.

    Examples:
        >>> class MeanColour(TargetGenerator):
        ...     def generate(self, images):
        ...         return [torch.nn.functional.avg_pool2d(images, 16)]
        >>> MeanColour(3, (16, ), (3, ))(torch.rand(1, 3, 32, 32))[0].shape
        torch.Size([1, 3, 2, 2])
    """

    def __init__(self, in_channels: int, grid_strides: Sequence[int], channels: Sequence[int],
                 level_names: Sequence[str] = ()) -> None:
        super().__init__()
        self.in_channels = whole(in_channels, 'in_channels', 1)
        self.grid_strides: Tuple[int, ...] = tuple(grid_strides)
        self.channels: Tuple[int, ...] = tuple(channels)
        names = level_names or [f'level{i}' for i in range(len(self.grid_strides))]
        self.level_names: Tuple[str, ...] = tuple(names)
        if not len(self.grid_strides) == len(self.channels) == len(self.level_names) > 0:
            raise ValueError('grid_strides, channels and level_names need one entry a level, but '
                             f'have {len(self.grid_strides)}, {len(self.channels)} and '
                             f'{len(self.level_names)}')

    @torch.no_grad()
    def forward(self, images: Tensor) -> List[Tensor]:
        """Computes the targets, without gradient and in float32 even under autocast.

        Args:
            images: Normalised images (B, in_channels, H, W).

        Returns:
            float32 (B, channels[i], H / grid_strides[i], W / grid_strides[i]) for each level i.

        Raises:
            ValueError: Channels or size of the images do not fit.
        """
        if images.dim() != 4 or images.shape[1] != self.in_channels:
            raise ValueError(f'images of shape {tuple(images.shape)} do not have the '
                             f'in_channels = {self.in_channels} that {type(self).__name__} was '
                             'built for')
        divisor = max(self.grid_strides)
        if images.shape[2] % divisor or images.shape[3] % divisor:
            raise ValueError(f'image size {images.shape[2]}x{images.shape[3]} must be divisible '
                             f'by {divisor}, the coarsest level of {type(self).__name__}')
        with torch.autocast(images.device.type, enabled=False):
            return self.generate(images.float())

    @abstractmethod
    def generate(self, images: Tensor) -> List[Tensor]:
        """The targets of checked float32 images; shapes as in :meth:`forward`."""


def check_levels(levels: Sequence[int], repeated: bool) -> Tuple[int, ...]:
    """Levels of a transform as a tuple.

    Raises:
        ValueError: They are no integers from 1 to 16 that rise, or with ``repeated`` do not fall.
    """
    try:
        found = [index(level) for level in levels]
    except TypeError:
        found = []
    if not found or found != sorted(found if repeated else set(found)) or not (
            1 <= found[0] and found[-1] <= 16):
        raise ValueError('levels must be integers from 1 to 16 (cells of 2 to 65,536 pixels), '
                         f'finest first, such as (2, 3, 4, 5), not {levels}')
    return tuple(found)
