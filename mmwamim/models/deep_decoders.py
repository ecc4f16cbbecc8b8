"""Decoders of several blocks that predict one target: MAE's, with MFF's fusion, and CrossMAE's."""
from abc import ABCMeta, abstractmethod
from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import BaseModule, ModuleList
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import build_norm_layer, to_2tuple
from torch import Tensor, nn

from mmwamim.registry import MODELS

from .masking import MaskPlan, as_plan
from .positions import SincosPositions
from .tokens import put, reorder, take


class OneTargetDecoder(BaseModule, metaclass=ABCMeta):
    """What decoders have in common that predict a target cell for each token of the encoder.

    Users set ``embed_dims``, ``depth``, ``num_heads`` and ``mlp_ratio``; everything else follows
    from the encoder and the target and is filled in by ``WaMIM``.

    Args:
        in_channels: Widths of the features, one a level, all the same.
        feature_strides: Pixels a token of the features, one a level, all the same.
        out_channels: Channels of the target, of its only level.
        target_strides: Pixels a cell of the target, of its only level: as of the features.
        mask_unit: Pixels of a unit of the mask.
        num_extra_tokens: Tokens ahead of the patches in every feature.
        embed_dims: Width of the decoder, a multiple of 4 and of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs, in units of ``embed_dims``.
        norm_cfg: The norms of tokens.
        image_size: The usual height and width of images, in pixels. Others work; positions are
            kept for this one.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: There is not one target, its cells are not the encoder's tokens, or widths do
            not fit.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 feature_strides: Sequence[int],
                 out_channels: Sequence[int],
                 target_strides: Sequence[int],
                 mask_unit: int,
                 num_extra_tokens: int = 0,
                 embed_dims: int = 512,
                 depth: int = 8,
                 num_heads: int = 16,
                 mlp_ratio: float = 4.,
                 norm_cfg: dict = dict(type='LN', eps=1e-6),
                 image_size: Union[int, Tuple[int, int], None] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        name, strides = type(self).__name__, set(feature_strides)
        if len(strides | set(target_strides)) > 1 or len(target_strides) != 1:
            raise ValueError(f'{name} predicts one target with a cell for each token: '
                             f'target_generator.grid_strides must be ({feature_strides[0]},), not '
                             f'{tuple(target_strides)}, for features of strides '
                             f'{tuple(feature_strides)}')
        if len(set(in_channels)) > 1:
            raise ValueError(f'{name} needs features of one width, not {tuple(in_channels)}')
        if embed_dims % num_heads:
            raise ValueError(f'embed_dims {embed_dims} must be divisible by num_heads {num_heads}')
        if depth < 1:
            raise ValueError(f'depth must be at least 1, not {depth}')
        self.stride = target_strides[0]
        self.mask_unit = mask_unit
        self.num_extra_tokens = num_extra_tokens
        image_size = image_size and to_2tuple(image_size)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.positions = SincosPositions(
            embed_dims, image_size and tuple(side // self.stride for side in image_size))
        self.out_norm = build_norm_layer(norm_cfg, embed_dims)
        self.predict = nn.Linear(embed_dims, out_channels[0])
        self.build(in_channels, embed_dims, depth, num_heads, mlp_ratio, norm_cfg)

    @abstractmethod
    def build(self, in_channels: Sequence[int], embed_dims: int, depth: int, num_heads: int,
              mlp_ratio: float, norm_cfg: dict) -> None:
        """Makes the parts of one decoder, of checked fields."""

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.mask_token, std=0.02)

    def keep_positions(self, size: Tuple[int, int]) -> None:
        """Makes the positions of images (height, width) before a compiled step asks for them."""
        self.positions.keep(tuple(side // self.stride for side in size))

    def _plan(self, features: Sequence[Tensor], plan: Union[MaskPlan, Tensor]) -> MaskPlan:
        """The plan of the features' tokens."""
        return as_plan(plan, features[0].device).refine(self.mask_unit // self.stride)

    @staticmethod
    def _as_map(cells: Tensor, plan: MaskPlan) -> Tensor:
        """(B, rows * cols, C) -> (B, C, rows, cols)."""
        return cells.transpose(1, 2).unflatten(2, plan.grid)


@MODELS.register_module()
class MAEDecoder(OneTargetDecoder):
    """MAE's decoder: norm, linear, mask tokens and positions, transformer blocks, norm, linear.

    Features of several depths are fused before: each but the last by a linear layer of its own,
    then all are averaged with learnt weights, at the start equal ones.

    Source: He et al., "Masked Autoencoders Are Scalable Vision Learners"; the fusion: Liu et al.,
    "Improving Pixel-based MIM by Reducing Wasted Modeling Capability" (MFF), Eq. 2 and 3.

    Args and errors are those of :class:`OneTargetDecoder`.

    Examples:
        >>> neck = MAEDecoder((32, ), (16, ), (768, ), (16, ), 16, 1, embed_dims=16, depth=2,
        ...                   num_heads=2)
        >>> mask = torch.tensor([[[True, False], [True, True]]])
        >>> neck([torch.zeros(1, 2, 32)], mask)[0].shape
        torch.Size([1, 768, 2, 2])
    """

    def build(self, in_channels: Sequence[int], embed_dims: int, depth: int, num_heads: int,
              mlp_ratio: float, norm_cfg: dict) -> None:
        levels, width = len(in_channels), in_channels[0]
        if levels > 1:
            self.project = ModuleList(nn.Linear(width, width) for _ in range(levels - 1))
            self.fusion = nn.Parameter(torch.zeros(levels))
        self.norm = build_norm_layer(norm_cfg, width)
        self.embed = nn.Linear(width, embed_dims)
        self.blocks = ModuleList(
            TransformerEncoderLayer(embed_dims, num_heads, int(mlp_ratio * embed_dims),
                                    norm_cfg=norm_cfg) for _ in range(depth))

    def forward(self, features: Sequence[Tensor],
                plan: Union[MaskPlan, Tensor]) -> List[Tensor]:
        """Decodes.

        Args:
            features: (B, extra + visible, in_channels) for each level.
            plan: Of the mask units, which are as large as the tokens or whole multiples; or
                their bool mask (B or 1, rows, cols), True = masked.

        Returns:
            [(B, out_channels, rows, cols)]. In training mode predictions of visible tokens, which
            weigh nothing in the loss, are zero and were not computed.
        """
        plan, extra = self._plan(features, plan), self.num_extra_tokens
        tokens = self.embed(self.norm(self._fuse(features)))
        positions = self.positions(plan.grid)
        ahead, patches = tokens.split([extra, tokens.shape[1] - extra], dim=1)
        masked = (self.mask_token + take(positions, plan.masked)).expand(len(tokens), -1, -1)
        x = torch.cat([ahead, patches + take(positions, plan.visible), masked], dim=1)
        for block in self.blocks:
            x = block(x)
        kept = extra + plan.num_visible if self.training else extra
        cells = self.predict(self.out_norm(x[:, kept:]))
        if self.training:
            cells = put(cells, plan.masked, plan.order.shape[1])
        else:  # from the plan's order to raster order
            cells = reorder(cells, plan.inverse, plan.order)
        return [self._as_map(cells, plan)]

    def _fuse(self, features: Sequence[Tensor]) -> Tensor:
        """(B, tokens, C) for each level -> (B, tokens, C)."""
        *shallow, last = features
        if not shallow:
            return last
        shares = self.fusion.softmax(0)
        fused = shares[-1] * last
        for share, project, level in zip(shares, self.project, shallow):
            fused = fused + share * project(level)
        return fused


class CrossAttentionBlock(BaseModule):
    """A transformer block whose tokens ask others, and not each other.

    Args:
        memory_dims: Width of the tokens that are asked.
        embed_dims: Width of the tokens that ask, a multiple of ``num_heads``.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP, in units of ``embed_dims``.
        norm_cfg: The norms.
    """

    def __init__(self, memory_dims: int, embed_dims: int, num_heads: int, mlp_ratio: float,
                 norm_cfg: dict) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.memory_norm = build_norm_layer(norm_cfg, memory_dims)
        self.ln1 = build_norm_layer(norm_cfg, embed_dims)
        self.query = nn.Linear(embed_dims, embed_dims)
        self.key_value = nn.Linear(memory_dims, 2 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.ln2 = build_norm_layer(norm_cfg, embed_dims)
        self.ffn = FFN(embed_dims, int(mlp_ratio * embed_dims), act_cfg=dict(type='GELU'))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(B, M, embed_dims) and (B, N, memory_dims) -> (B, M, embed_dims)."""
        key, value = self.key_value(self.memory_norm(memory)).chunk(2, dim=-1)
        # (B, tokens, D) -> (B, heads, tokens, D / heads)
        query, key, value = (t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
                             for t in (self.query(self.ln1(x)), key, value))
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.proj(attended.transpose(1, 2).flatten(2))
        return self.ffn(self.ln2(x), identity=x)


@MODELS.register_module()
class CrossAttentionDecoder(OneTargetDecoder):
    """CrossMAE's decoder: masked patches ask the encoder's tokens, and not each other.

    Each block asks its own weighted sum of the features of all depths. As no patch's prediction
    depends on which others are asked for, only those are computed that the loss counts
    (``predict_ratio`` of ``WaMIM``).

    Source: Fu et al., "Rethinking Patch Dependence for Masked Autoencoders" (CrossMAE), Eq. 1 to
    3 and "Inter-block attention".

    Args and errors are those of :class:`OneTargetDecoder`.

    Examples:
        >>> neck = CrossAttentionDecoder((32, 32), (16, 16), (768, ), (16, ), 16, 1, embed_dims=16,
        ...                              depth=2, num_heads=2)
        >>> mask = torch.tensor([[[True, False], [True, True]]])
        >>> neck([torch.zeros(1, 2, 32)] * 2, mask)[0].shape
        torch.Size([1, 768, 2, 2])
    """

    def build(self, in_channels: Sequence[int], embed_dims: int, depth: int, num_heads: int,
              mlp_ratio: float, norm_cfg: dict) -> None:
        self.shares = nn.Parameter(torch.empty(depth, len(in_channels)))
        nn.init.xavier_uniform_(self.shares)
        self.blocks = ModuleList(
            CrossAttentionBlock(in_channels[0], embed_dims, num_heads, mlp_ratio, norm_cfg)
            for _ in range(depth))

    def forward(self, features: Sequence[Tensor],
                plan: Union[MaskPlan, Tensor]) -> List[Tensor]:
        """Decodes.

        Args:
            features: (B, extra + visible, in_channels) for each depth.
            plan: As for :class:`MAEDecoder`.

        Returns:
            [(B, out_channels, rows, cols)]. In training mode only the predictions that the loss
            counts are computed; the others are zero.
        """
        plan, batch = self._plan(features, plan), len(features[0])
        # (depth, levels) x (levels, B, tokens, C) -> (depth, B, tokens, C)
        memories = torch.einsum('dl,lbtc->dbtc', self.shares, torch.stack(list(features)))
        places = plan.predicted if self.training else plan.order
        x = (self.mask_token + take(self.positions(plan.grid), places)).expand(batch, -1, -1)
        for block, memory in zip(self.blocks, memories):
            x = block(x, memory)
        cells = self.predict(self.out_norm(x))
        return [self._as_map(put(cells, places, plan.order.shape[1]), plan)]
