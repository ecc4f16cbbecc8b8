"""A light decoder for each level, sized for encoder and target."""
from numbers import Integral
from typing import List, Sequence, Tuple, Union

from mmengine.model import BaseModule, ModuleList
from mmpretrain.models.utils import to_2tuple
from torch import Tensor

from mmwamim.registry import MODELS

from .level_decoder import LevelDecoder
from .masking import MaskPlan, as_plan


@MODELS.register_module()
class MultiLevelDecoder(BaseModule):
    """A :class:`LevelDecoder` for each level.

    Users set ``embed_dims``, ``num_heads`` and ``mlp_ratio``; everything else follows from the
    encoder and the target and is filled in by ``WaMIM``.

    Args:
        in_channels: Widths of the features, one a level, finest first.
        feature_strides: Pixels a token of the features, one a level.
        out_channels: Channels of the targets, one a level.
        target_strides: Pixels a cell of the targets, one a level.
        mask_unit: Pixels of a unit of the mask.
        num_extra_tokens: Tokens ahead of the patches in every feature.
        embed_dims: Width of the decoders (256 for ViT, 128 for Swin in the paper), or one a level.
        num_heads: Heads of the decoders (8 and 4).
        mlp_ratio: Hidden width of their MLP, in units of ``embed_dims``.
        norm_cfg: The norms of tokens.
        image_size: The usual height and width of images, in pixels. Others work; positions are
            kept for this one.
        init_cfg: MMEngine's initialisation config.

    Attributes:
        decodes_draws (bool): True: of a plan with ``draws`` only these are computed in training.

    Raises:
        ValueError: Encoder and target have different numbers of levels, or sizes do not fit.

    Examples:
        >>> neck = MultiLevelDecoder((32, ), (8, ), (12, ), (8, ), mask_unit=8, embed_dims=16,
        ...                          num_heads=2)
        >>> mask = torch.tensor([[[True, False], [True, True]]])
        >>> neck([torch.zeros(1, 1, 32)], mask)[0].shape  # 12 values for each of 2 x 2 cells
        torch.Size([1, 12, 2, 2])
    """
    decodes_draws = True

    def __init__(self,
                 in_channels: Sequence[int],
                 feature_strides: Sequence[int],
                 out_channels: Sequence[int],
                 target_strides: Sequence[int],
                 mask_unit: int,
                 num_extra_tokens: int = 0,
                 embed_dims: Union[int, Sequence[int]] = 256,
                 num_heads: int = 8,
                 mlp_ratio: float = 4.,
                 norm_cfg: dict = dict(type='LN', eps=1e-6),
                 image_size: Union[int, Tuple[int, int], None] = None,
                 init_cfg: dict = None) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != len(out_channels):
            raise ValueError(
                f'the backbone gives {len(in_channels)} levels (its out_indices) but the target '
                f'has {len(out_channels)}: both need the same number')
        widths = [embed_dims] * len(in_channels) if isinstance(embed_dims, Integral) else embed_dims
        if len(widths) != len(in_channels):
            raise ValueError(f'embed_dims must be a width or one for each of {len(in_channels)} '
                             f'levels, not {tuple(widths)}')
        self.mask_unit = mask_unit
        image_size = image_size and to_2tuple(image_size)
        self.levels = ModuleList(
            LevelDecoder(channels, out, stride, target, width, num_heads, mlp_ratio,
                         num_extra_tokens, norm_cfg, image_size)
            for channels, out, stride, target, width in zip(
                in_channels, out_channels, feature_strides, target_strides, widths))

    def keep_positions(self, size: Tuple[int, int]) -> None:
        """Makes the positions of images (height, width) before a compiled step asks for them."""
        for level in self.levels:
            level.positions.keep(tuple(side // level.feature_stride for side in size))

    def forward(self, features: Sequence[Tensor],
                plan: Union[MaskPlan, Tensor]) -> List[Tensor]:
        """Decodes every level.

        Args:
            features: (B, extra + visible, in_channels[i]) for each level.
            plan: Of the mask units, which are as large as the tokens or whole multiples; or
                their bool mask (B or 1, rows, cols), True = masked.

        Returns:
            Predictions of exactly the targets' shapes, one a level. In training mode those of
            what weighs nothing in the loss, visible tokens and cells that were not drawn, are zero
            and were not computed.
        """
        plan = as_plan(plan, features[0].device)
        draws = plan.draws or [None] * len(self.levels)
        plans = {level.feature_stride: plan.refine(self.mask_unit // level.feature_stride)
                 for level in self.levels}
        return [level(tokens, plans[level.feature_stride], self.training, draw)
                for level, tokens, draw in zip(self.levels, features, draws)]
