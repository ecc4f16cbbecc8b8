"""The light decoder of one level: from an encoder's visible tokens to a dense prediction."""
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import build_norm_layer
from torch import Tensor, nn

from .draws import LevelDraw, keys_in_parts
from .masking import MaskPlan, as_plan
from .positions import SincosPositions
from .precision import in_low_precision, layer_norm
from .tokens import pick, put, reorder, take


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

    Examples:
        >>> decoder = LevelDecoder(in_channels=32, out_channels=12, feature_stride=16,
        ...                        target_stride=8, embed_dims=16, num_heads=2, mlp_ratio=4.,
        ...                        num_extra_tokens=0, norm_cfg=dict(type='LN'))
        >>> mask = torch.tensor([[[True, False], [True, True]]])
        >>> decoder(torch.zeros(1, 1, 32), mask).shape
        torch.Size([1, 12, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, feature_stride: int,
                 target_stride: int, embed_dims: int, num_heads: int, mlp_ratio: float,
                 num_extra_tokens: int, norm_cfg: dict,
                 image_size: Optional[Tuple[int, int]] = None) -> None:
        super().__init__()
        if embed_dims < 4:
            raise ValueError(f'embed_dims must be a multiple of 4, not {embed_dims}')
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
                masked_only: bool = False, draw: Optional[LevelDraw] = None) -> Tensor:
        """Decodes one level.

        Args:
            tokens: (B, extra + visible, in_channels).
            plan: Of this level's own token grid; or its bool mask (B or 1, rows, cols).
            masked_only: Leaves the predictions of visible tokens zero instead of computing them.
                The masked ones are the same. Where a target cell covers several tokens all are
                computed.
            draw: With ``masked_only`` the drawn cells alone are computed, from the visible tokens
                and the drawn masked ones, and the others are zero; else all of them, in parts, each
                from as many masked tokens as a draw has.

        Returns:
            (B, out_channels, rows * feature_stride / target_stride, ...).
        """
        plan = as_plan(plan, tokens.device)
        local = self.target_stride <= self.feature_stride
        if draw is not None and masked_only and not local:
            return self._decode_coarse_cells(tokens, plan, draw)
        masked_only = masked_only and local
        masked, allowed = plan.masked, None
        if draw is not None and masked_only:
            masked = draw.keys
        elif draw is not None:
            allowed = keys_in_parts(plan, draw)
        x = self.out_norm(self._attend(tokens, plan, masked, masked_only, allowed=allowed))
        if not masked_only:  # from the plan's order to raster order
            x = reorder(x, plan.inverse, plan.order)
        if not local:
            # (B, rows * cols, D) -> (B, D, rows, cols)
            return self.predict(self.resize(x.transpose(1, 2).unflatten(2, plan.grid)))
        cells = self._predict_cells(x)
        if masked_only:
            cells = put(cells, masked, plan.order.shape[1])
        # (B, rows * cols, f, f, C) -> (B, C, rows, f, cols, f) -> (B, C, rows * f, cols * f)
        cells = cells.unflatten(1, plan.grid).permute(0, 5, 1, 3, 2, 4)
        return cells.flatten(4, 5).flatten(2, 3)

    def _decode_coarse_cells(self, tokens: Tensor, plan: MaskPlan, draw: LevelDraw) -> Tensor:
        """The drawn cells of a target whose cells cover several tokens: their tokens' mean."""
        x = self.out_norm(self._attend(tokens, plan, draw.keys, False, draw.places))
        ratio = self.target_stride // self.feature_stride
        # (B, K * n, D) -> (B, K, D) -> (B, K, C)
        cells = self.predict.weight.flatten(1), self.predict.bias
        cells = F.linear(x.unflatten(1, (-1, ratio**2)).mean(2), *cells)
        rows, cols = plan.grid[0] // ratio, plan.grid[1] // ratio
        # (B, rows * cols, C) -> (B, C, rows, cols)
        return put(cells, draw.cells, rows * cols).transpose(1, 2).unflatten(2, (rows, cols))

    def _attend(self, tokens: Tensor, plan: MaskPlan, masked: Tensor, masked_only: bool,
                places: Optional[Tensor] = None, allowed: Optional[Tensor] = None) -> Tensor:
        """From the encoder's tokens to the output of the transformer block.

        It has the parameters of mmpretrain's block and its results, with less work. A masked
        token is the mask token at its position, the same in every image: its query, key and
        value are computed once for each position. And what is thrown away afterwards need not
        ask: the class token, and visible tokens if ``masked_only``.

        Args:
            tokens: (B, extra + V, in_channels).
            plan: Of V visible tokens.
            masked: int64 (B or 1, M), the masked tokens that take part.
            masked_only: Whether visible tokens are thrown away.
            places: int64 (B, Q), those of visible and masked tokens, one after the other, that are
                kept; default: all.
            allowed: bool (B or 1, 1, V + M, V + M), which tokens may ask which; default: all.

        Returns:
            (B, M, D) if ``masked_only``, else (B, V + M, D), visible ones first, or (B, Q, D).
        """
        batch, dims, extra = tokens.shape[0], self.embed_dims, self.num_extra_tokens
        block, attn = self.block, self.block.attn
        positions = self.positions(plan.grid)  # (rows * cols, D)
        ahead, patches = self.embed(self.norm(tokens)).split(
            [extra, tokens.shape[1] - extra], dim=1)
        x = torch.cat([ahead, patches + take(positions, plan.visible)], dim=1)
        everywhere = (self.mask_token[0] + positions).to(x.dtype)
        weight, bias = in_low_precision(attn.qkv.weight), in_low_precision(attn.qkv.bias)
        # Tables of their own, since under autocast residuals stay float32 and the rest does not.
        tables = everywhere, *F.linear(block.ln1(everywhere), weight, bias).chunk(3, dim=-1)
        residual, query, key, value = (take(table, masked).expand(batch, -1, -1)
                                       for table in tables)

        normed = block.ln1(x)
        visible_key, visible_value = F.linear(normed, weight[dims:], bias[dims:]).chunk(2, dim=-1)
        key, value = torch.cat([visible_key, key], dim=1), torch.cat([visible_value, value], dim=1)
        if not masked_only:
            asking = F.linear(normed[:, extra:], weight[:dims], bias[:dims])
            query = torch.cat([asking, query], dim=1)
            residual = torch.cat([x[:, extra:], residual], dim=1)
        if places is not None:
            query, residual = pick(query, places), pick(residual, places)
        # (B, tokens, D) -> (B, heads, tokens, D / heads)
        query, key, value = (t.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
                             for t in (query, key, value))
        if allowed is not None:
            allowed = F.pad(allowed, (extra, 0), value=True)
        x = F.scaled_dot_product_attention(query, key, value, allowed).transpose(1, 2).flatten(2)
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
