"""One light decoder a level: from an encoder's visible tokens to a dense prediction."""
from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import build_norm_layer, to_2tuple
from torch import Tensor, nn

from mmwamim.registry import MODELS

from .masking import MaskPlan, as_plan
from .positions import SincosPositions
from .precision import in_low_precision, layer_norm
from .tokens import put, reorder, take


class LevelDecoder(BaseModule):
    """Decodes one level: norm, linear, mask tokens scattered in, positions, one transformer
    block, norm, resize to the target's grid, 1x1 projection.

    Source: WaMIM, "Implementation Details", decoder. The resize is reconstructed: a factor of
    2^n is n transposed convolutions of stride 2, each halving the width, with norm and GELU
    between; a factor below 1 is average pooling.

    Args:
        in_channels: Width of the encoder's features.
        out_channels: Channels of the target.
        feature_stride: Pixels a token of the encoder's features.
        target_stride: Pixels a cell of the target.
        embed_dims: Width of the decoder, a multiple of 4 and of ``num_heads``.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the block's MLP, in units of ``embed_dims``.
        num_extra_tokens: Tokens ahead of the patches; they take part in the block and are
            dropped after it.
        norm_cfg: The norms of tokens.
        image_size: The usual height and width of images, in pixels, whose positions are kept.

    Raises:
        ValueError: The strides' ratio is not a power of two, or the width does not divide.
    """

    def __init__(self, in_channels: int, out_channels: int, feature_stride: int,
                 target_stride: int, embed_dims: int, num_heads: int, mlp_ratio: float,
                 num_extra_tokens: int, norm_cfg: dict,
                 image_size: Optional[Tuple[int, int]] = None) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'embed_dims {embed_dims} must be divisible by num_heads '
                             f'{num_heads}')
        self.embed_dims = embed_dims
        self.feature_stride = feature_stride
        self.target_stride = target_stride
        self.num_extra_tokens = num_extra_tokens
        self.norm = build_norm_layer(norm_cfg, in_channels)
        self.embed = nn.Linear(in_channels, embed_dims)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.positions = SincosPositions(embed_dims, image_size and (
            image_size[0] // feature_stride, image_size[1] // feature_stride))
        self.block = TransformerEncoderLayer(embed_dims, num_heads, int(mlp_ratio * embed_dims),
                                             norm_cfg=norm_cfg)
        self.out_norm = build_norm_layer(norm_cfg, embed_dims)
        self.resize, channels = self._build_resize(embed_dims, feature_stride, target_stride)
        self.predict = nn.Conv2d(channels, out_channels, 1)

    @staticmethod
    def _build_resize(channels: int, feature_stride: int, target_stride: int
                      ) -> Tuple[nn.Module, int]:
        """The module from one grid to the other, and its output width."""
        larger, smaller = sorted((feature_stride, target_stride), reverse=True)
        ratio, rest = divmod(larger, smaller)
        if rest or ratio & (ratio - 1):
            raise ValueError(f'a target of grid stride {target_stride} cannot be decoded from '
                             f'features of stride {feature_stride}: their ratio must be a power '
                             'of two')
        if target_stride >= feature_stride:
            return (nn.AvgPool2d(ratio) if ratio > 1 else nn.Identity()), channels
        layers: List[nn.Module] = []
        steps = ratio.bit_length() - 1
        for step in range(steps):
            layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
            channels //= 2
            if step < steps - 1:
                layers += [build_norm_layer(dict(type='LN2d', eps=1e-6), channels), nn.GELU()]
        return nn.Sequential(*layers), channels

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, tokens: Tensor, plan: Union[MaskPlan, Tensor],
                masked_only: bool = False) -> Tensor:
        """Decodes one level.

        Args:
            tokens: (B, extra + visible, in_channels).
            plan: Of this level's own token grid; or its bool mask (B or 1, rows, cols).
            masked_only: Leaves the predictions of visible tokens zero instead of computing them.
                The masked ones are the same. Where a target cell covers several tokens all are
                computed.

        Returns:
            (B, out_channels, rows * feature_stride / target_stride, ...).
        """
        plan = as_plan(plan, tokens.device)
        local = self.target_stride <= self.feature_stride
        masked_only = masked_only and local
        x = self.out_norm(self._attend(tokens, plan, masked_only))
        if not masked_only:  # from the plan's order to raster order
            x = reorder(x, plan.inverse, plan.order)
        if not local:
            # (B, rows * cols, D) -> (B, D, rows, cols)
            return self.predict(self.resize(x.transpose(1, 2).unflatten(2, plan.grid)))
        cells = self._predict_cells(x)
        if masked_only:
            cells = put(cells, plan.masked, plan.order.shape[1])
        # (B, rows * cols, f, f, C) -> (B, C, rows, f, cols, f) -> (B, C, rows * f, cols * f)
        cells = cells.unflatten(1, plan.grid).permute(0, 5, 1, 3, 2, 4)
        return cells.flatten(4, 5).flatten(2, 3)

    def _attend(self, tokens: Tensor, plan: MaskPlan, masked_only: bool) -> Tensor:
        """From the encoder's tokens to the output of the transformer block.

        It has the parameters of mmpretrain's block and its results, with less work. A masked
        token is the mask token at its position, the same in every image: its query, key and
        value are computed once for each position. And what is thrown away afterwards need not
        ask: the class token, and visible tokens if ``masked_only``.

        Args:
            tokens: (B, extra + V, in_channels).
            plan: Of V visible and M masked tokens.
            masked_only: Whether visible tokens are thrown away.

        Returns:
            (B, M, D) if ``masked_only``, else (B, V + M, D), visible ones first.
        """
        batch, dims, extra = tokens.shape[0], self.embed_dims, self.num_extra_tokens
        block, attn = self.block, self.block.attn
        positions = self.positions(plan.grid)  # (V + M, D)
        ahead, patches = self.embed(self.norm(tokens)).split(
            [extra, tokens.shape[1] - extra], dim=1)
        x = torch.cat([ahead, patches + take(positions, plan.visible)], dim=1)
        everywhere = (self.mask_token[0] + positions).to(x.dtype)
        weight, bias = in_low_precision(attn.qkv.weight), in_low_precision(attn.qkv.bias)
        # Tables of their own, since under autocast residuals stay float32 and the rest does not.
        tables = everywhere, *F.linear(block.ln1(everywhere), weight, bias).chunk(3, dim=-1)
        residual, query, key, value = (take(table, plan.masked).expand(batch, -1, -1)
                                       for table in tables)

        normed = block.ln1(x)
        visible_key, visible_value = F.linear(normed, weight[dims:], bias[dims:]).chunk(2, dim=-1)
        key, value = torch.cat([visible_key, key], dim=1), torch.cat([visible_value, value], dim=1)
        if not masked_only:
            asking = F.linear(normed[:, extra:], weight[:dims], bias[:dims])
            query = torch.cat([asking, query], dim=1)
            residual = torch.cat([x[:, extra:], residual], dim=1)
        # (B, tokens, D) -> (B, heads, tokens, D / heads)
        query, key, value = (t.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
                             for t in (query, key, value))
        x = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = residual + attn.proj(x)
        return block.ffn(block.ln2(x), identity=x)

    def _predict_cells(self, x: Tensor) -> Tensor:
        """Resizes up and predicts, a token at a time: (B, M, D) -> (B, M, f, f, out_channels).

        A transposed convolution whose kernel is its stride is a linear layer from a token to its
        2x2 children. The last one and the 1x1 projection behind it, both linear, are one layer.
        """
        x = x[:, :, None, None]
        predict = self.predict.weight.flatten(1), self.predict.bias
        if not isinstance(self.resize, nn.Sequential):
            return F.linear(x, *predict)
        *inner, last = self.resize
        for layer in inner:
            if isinstance(layer, nn.ConvTranspose2d):
                x = _double(x, layer.weight, layer.bias)
            elif isinstance(layer, nn.LayerNorm):  # LN2d is one, over channels at dimension 1
                x = layer_norm(x, layer)
            else:
                x = layer(x)
        weight = torch.einsum('cdij,od->coij', last.weight, predict[0])
        return _double(x, weight, F.linear(last.bias, *predict))


def _double(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A transposed convolution of kernel and stride 2 on channels-last cells.

    Args:
        x: (B, M, f, f, C).
        weight: (C, D, 2, 2), as of ``nn.ConvTranspose2d``.
        bias: (D,).

    Returns:
        (B, M, 2 f, 2 f, D).
    """
    # (C, D, 2, 2) -> (2, 2, D, C) -> (4 D, C); the bias goes in there too, since added by itself,
    # in float32, it would make a half precision result float32.
    x = F.linear(x, weight.permute(2, 3, 1, 0).flatten(0, 2), bias.repeat(4))
    # (B, M, f, f, 4 D) -> (B, M, f, 2, f, 2, D)
    x = x.unflatten(-1, (2, 2, -1)).transpose(3, 4)
    return x.flatten(4, 5).flatten(2, 3)


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

    Raises:
        ValueError: Encoder and target have different numbers of levels, or sizes do not fit.

    Examples:
        >>> neck = MultiLevelDecoder((32, ), (8, ), (12, ), (8, ), mask_unit=8, embed_dims=16,
        ...                          num_heads=2)
        >>> mask = torch.tensor([[[True, False], [True, True]]])
        >>> neck([torch.zeros(1, 1, 32)], mask)[0].shape  # 12 values for each of 2 x 2 cells
        torch.Size([1, 12, 2, 2])
    """

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
        widths = [embed_dims] * len(in_channels) if isinstance(embed_dims, int) else embed_dims
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

    def forward(self, features: Sequence[Tensor],
                plan: Union[MaskPlan, Tensor]) -> List[Tensor]:
        """Decodes every level.

        Args:
            features: (B, extra + visible, in_channels[i]) for each level.
            plan: Of the mask units, which are as large as the tokens or whole multiples; or
                their bool mask (B or 1, rows, cols), True = masked.

        Returns:
            Predictions of exactly the targets' shapes, one a level. In training mode those of
            visible tokens, which weigh nothing in the loss, are zero and were not computed.
        """
        plan = as_plan(plan, features[0].device)
        plans = {level.feature_stride: plan.refine(self.mask_unit // level.feature_stride)
                 for level in self.levels}
        return [level(tokens, plans[level.feature_stride], self.training)
                for level, tokens in zip(self.levels, features)]
