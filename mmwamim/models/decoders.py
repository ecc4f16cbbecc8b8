"""One light decoder a level: from an encoder's visible tokens to a dense prediction."""
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import build_norm_layer
from torch import Tensor, nn

from mmwamim.registry import MODELS

from .masking import rescale_mask, scatter_visible, to_device, visible_indices
from .positions import sincos_positions


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

    Raises:
        ValueError: The strides' ratio is not a power of two, or the width does not divide.
    """

    def __init__(self, in_channels: int, out_channels: int, feature_stride: int,
                 target_stride: int, embed_dims: int, num_heads: int, mlp_ratio: float,
                 num_extra_tokens: int, norm_cfg: dict) -> None:
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

    def forward(self, tokens: Tensor, mask: Tensor, masked_only: bool = False) -> Tensor:
        """Decodes one level.

        Args:
            tokens: (B, extra + visible, in_channels).
            mask: bool (B or 1, rows, cols) on this level's own token grid.
            masked_only: Leaves the predictions of visible tokens zero instead of computing them.
                The masked ones are the same. Where a target cell covers several tokens all are
                computed.

        Returns:
            (B, out_channels, rows * feature_stride / target_stride, ...).
        """
        batch, grid = tokens.shape[0], tuple(mask.shape[1:])
        x = self._fill_in(tokens, mask)
        if self.target_stride > self.feature_stride:
            x = self.out_norm(self._attend(x, None))
            # (B, rows * cols, D) -> (B, D, rows, cols)
            x = x.transpose(1, 2).reshape(batch, self.embed_dims, *grid)
            return self.predict(self.resize(x))
        wanted = to_device(visible_indices(~mask), x.device).expand(batch, -1) \
            if masked_only else None
        cells = self._predict_cells(self.out_norm(self._attend(x, wanted)))
        if wanted is not None:
            everywhere = cells.new_zeros(batch, grid[0] * grid[1], *cells.shape[2:])
            index = wanted[..., None, None, None].expand_as(cells)
            cells = everywhere.scatter(1, index, cells)
        # (B, rows * cols, f, f, C) -> (B, C, rows, f, cols, f) -> (B, C, rows * f, cols * f)
        cells = cells.unflatten(1, grid).permute(0, 5, 1, 3, 2, 4)
        return cells.flatten(4, 5).flatten(2, 3)

    def _fill_in(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Visible tokens at their places among mask tokens, with positions:
        (B, extra + visible, in_channels) -> (B, extra + rows * cols, D)."""
        grid = tuple(mask.shape[1:])
        x = self.embed(self.norm(tokens))
        extra, visible = x.split(
            [self.num_extra_tokens, x.shape[1] - self.num_extra_tokens], dim=1)
        indices = to_device(visible_indices(mask), tokens.device)
        x = scatter_visible(visible, indices, self.mask_token, grid[0] * grid[1])
        x = x + to_device(sincos_positions(grid, self.embed_dims), x.device)
        return torch.cat([extra, x], dim=1) if self.num_extra_tokens else x

    def _attend(self, x: Tensor, wanted: Optional[Tensor]) -> Tensor:
        """The transformer block, for patches alone, or only the ``wanted`` ones of them.

        Every token is a key and a value, but what is thrown away afterwards need not ask: the
        class token, and visible patches. It has the parameters of mmpretrain's block, and its
        results.

        Args:
            x: (B, extra + N, D).
            wanted: int64 (B, M) of patches, or None for all.

        Returns:
            (B, M or N, D).
        """
        attn, dims = self.block.attn, self.embed_dims
        normed = self.block.ln1(x)
        asking, residual = normed[:, self.num_extra_tokens:], x[:, self.num_extra_tokens:]
        if wanted is not None:
            index = wanted.unsqueeze(-1).expand(-1, -1, dims)
            asking, residual = asking.gather(1, index), residual.gather(1, index)
        weight, bias = attn.qkv.weight, attn.qkv.bias
        query = F.linear(asking, weight[:dims], bias[:dims])
        key, value = F.linear(normed, weight[dims:], bias[dims:]).chunk(2, dim=-1)
        # (B, tokens, D) -> (B, heads, tokens, D / heads)
        query, key, value = (t.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
                             for t in (query, key, value))
        x = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = residual + attn.proj(x)
        return self.block.ffn(self.block.ln2(x), identity=x)

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
                x = F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
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
    # (C, D, 2, 2) -> (2, 2, D, C) -> (4 D, C)
    x = F.linear(x, weight.permute(2, 3, 1, 0).flatten(0, 2)).unflatten(-1, (2, 2, -1))
    # (B, M, f, f, 2, 2, D) -> (B, M, f, 2, f, 2, D)
    x = x.transpose(3, 4)
    return x.flatten(4, 5).flatten(2, 3) + bias


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
        embed_dims: Width of the decoders (256 for ViT, 128 for Swin in the paper).
        num_heads: Heads of the decoders (8 and 4).
        mlp_ratio: Hidden width of their MLP, in units of ``embed_dims``.
        norm_cfg: The norms of tokens.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: Encoder and target have different numbers of levels, or sizes do not fit.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 feature_strides: Sequence[int],
                 out_channels: Sequence[int],
                 target_strides: Sequence[int],
                 mask_unit: int,
                 num_extra_tokens: int = 0,
                 embed_dims: int = 256,
                 num_heads: int = 8,
                 mlp_ratio: float = 4.,
                 norm_cfg: dict = dict(type='LN', eps=1e-6),
                 init_cfg: dict = None) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != len(out_channels):
            raise ValueError(
                f'the backbone gives {len(in_channels)} levels (its out_indices) but the target '
                f'has {len(out_channels)}: both need the same number')
        self.mask_unit = mask_unit
        self.levels = ModuleList(
            LevelDecoder(channels, out, stride, target, embed_dims, num_heads, mlp_ratio,
                         num_extra_tokens, norm_cfg)
            for channels, out, stride, target in zip(in_channels, out_channels, feature_strides,
                                                     target_strides))

    def forward(self, features: Sequence[Tensor], mask: Tensor) -> List[Tensor]:
        """Decodes every level.

        Args:
            features: (B, extra + visible, in_channels[i]) for each level.
            mask: bool (B or 1, rows, cols) of mask units, True = masked.

        Returns:
            Predictions of exactly the targets' shapes, one a level. In training mode those of
            visible tokens, which weigh nothing in the loss, are zero and were not computed.
        """
        mask = mask.cpu()
        return [level(tokens, self._on_grid(mask, level.feature_stride), self.training)
                for level, tokens in zip(self.levels, features)]

    def _on_grid(self, mask: Tensor, stride: int) -> Tensor:
        """The mask on the token grid of one level; mask units are at least as large as tokens."""
        if stride == self.mask_unit:
            return mask
        rows, cols = (size * self.mask_unit // stride for size in mask.shape[1:])
        return rescale_mask(mask, (rows, cols)).bool()
