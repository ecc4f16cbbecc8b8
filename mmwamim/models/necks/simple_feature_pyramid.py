"""From the one feature map of a plain ViT to the pyramid that detectors expect."""
from typing import List, Sequence, Tuple, Union

import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from mmpretrain.models.utils import build_norm_layer
from torch import Tensor, nn

from mmwamim.registry import MODELS


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Every level is made from the backbone's last map alone, without top-down connections.

    Source: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection",
    section 3.

    Args:
        in_channels: Width of the backbone.
        out_channels: Width of every level.
        scales: Size of each level relative to the backbone's map, finest first: 4, 2, 1 or 0.5.
        num_outs: Levels in all; those beyond ``scales`` are subsampled from the last.
        norm_cfg: The norms over channels.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: A scale is not one of the four, or ``num_outs`` is less than the scales.

    Examples:
        >>> neck = SimpleFeaturePyramid(in_channels=32, out_channels=16)
        >>> [tuple(level.shape[1:]) for level in neck(torch.rand(1, 32, 8, 8))]
        [(16, 32, 32), (16, 16, 16), (16, 8, 8), (16, 4, 4), (16, 2, 2)]
    """

    def __init__(self, in_channels: int, out_channels: int = 256,
                 scales: Sequence[float] = (4, 2, 1, 0.5), num_outs: int = 5,
                 norm_cfg: dict = dict(type='LN2d', eps=1e-6), init_cfg: dict = None) -> None:
        super().__init__(init_cfg)
        if num_outs < len(scales):
            raise ValueError(f'num_outs {num_outs} must be at least the number of scales, '
                             f'{len(scales)}')
        self.extra = num_outs - len(scales)
        self.levels = ModuleList()
        for scale in scales:
            layers, channels = self._resize(in_channels, scale, norm_cfg)
            self.levels.append(nn.Sequential(
                *layers,
                nn.Conv2d(channels, out_channels, 1, bias=False),
                build_norm_layer(norm_cfg, out_channels),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                build_norm_layer(norm_cfg, out_channels)))

    @staticmethod
    def _resize(channels: int, scale: float, norm_cfg: dict) -> Tuple[List[nn.Module], int]:
        """The layers to one scale, and their output width."""
        if scale == 4:
            return [nn.ConvTranspose2d(channels, channels // 2, 2, stride=2),
                    build_norm_layer(norm_cfg, channels // 2), nn.GELU(),
                    nn.ConvTranspose2d(channels // 2, channels // 4, 2, stride=2)], channels // 4
        if scale == 2:
            return [nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)], channels // 2
        if scale == 1:
            return [], channels
        if scale == 0.5:
            return [nn.MaxPool2d(2)], channels
        raise ValueError(f'scales may hold 4, 2, 1 and 0.5, not {scale}')

    def forward(self, features: Union[Tensor, Sequence[Tensor]]) -> Tuple[Tensor, ...]:
        """Builds the pyramid.

        Args:
            features: The backbone's maps, of which the last, (B, in_channels, H, W), is used.

        Returns:
            ``num_outs`` tensors (B, out_channels, H * scale, W * scale), finest first.
        """
        last = features if isinstance(features, Tensor) else features[-1]
        outs = [level(last) for level in self.levels]
        for _ in range(self.extra):
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)
