"""Vision Transformer that embeds and encodes visible patches only."""
from numbers import Integral
from typing import Any, List, Sequence, Union

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmpretrain.models import VisionTransformer
from mmpretrain.models.utils import MultiheadAttention, resize_pos_embed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmwamim.errors import UserError
from mmwamim.registry import MODELS

from ..masking import MaskPlan, as_plan
from ..positions import sincos_positions
from ..tokens import take
from .initialization import loads_checkpoint


def plain_drop_rates(model: nn.Module) -> None:
    """Makes rates of drop path Python's numbers: to a compiler those of NumPy, which mmpretrain
    gives a ViT, are arrays. Raises ValueError where one is no probability."""
    for module in model.modules():
        if isinstance(module, DropPath):
            module.drop_prob = float(module.drop_prob)
            if not 0 <= module.drop_prob < 1:  # mmpretrain would train on with noise
                raise ValueError('drop_path_rate must be at least 0 and less than 1, not '
                                 f'{module.drop_prob:g}')


class SelfAttention(MultiheadAttention):
    """mmpretrain's attention, whose backward pass writes the gradient of qkv once.

    There query, key and value are taken by three indices, whose gradients are three tensors of
    the size of qkv, mostly zeros, that are then added up.
    """

    @classmethod
    def of(cls, stock: MultiheadAttention) -> 'SelfAttention':
        """One that has all that ``stock`` has: its parameters under their names."""
        attention = cls.__new__(cls)
        attention.__dict__.update(stock.__dict__)
        return attention

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        # (B, N, 3 * C) -> 3 of (B, heads, N, C / heads)
        query, key, value = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(
            2, 0, 3, 1, 4).unbind()
        x = self.scaled_dot_product_attention(query, key, value,
                                              dropout_p=self.attn_drop if self.training else 0.)
        x = self.proj(x.transpose(1, 2).flatten(2))
        return self.out_drop(self.gamma1(self.proj_drop(x)))


@MODELS.register_module()
class MaskedViT(VisionTransformer):
    """mmpretrain's Vision Transformer, with a second way in for masked images.

    Called with the plan of a mask it computes visible patches only and returns features of several
    depths; called without one it is exactly its parent. Parameter names are the parent's, so a
    checkpoint loads ``strict=True`` into the stock ``VisionTransformer``.

    Two parts take no gradient, since this class is for pre-training: the positions, which are
    fixed sine-cosine, and the final norms, which the masked path does not reach (they stay what
    they are at the start: the identity up to normalisation). The stock class trains both.

    Source: He et al., "Masked Autoencoders Are Scalable Vision Learners" (visible patches only);
    WaMIM, "Implementation Details", encoder (features of several layers).

    Args:
        out_indices: Layers (from 0; negative ones count from the end) whose outputs are
            returned, shallow to deep, one for each level of the target. Default: a quarter,
            half, three quarters and the end of 12 layers.
        with_input: Returns what enters the first layer, too, ahead of the others.
        with_cp: Keeps the input of every layer alone and computes the layer again in the backward
            pass: less memory, more time, the same gradients. Without a mask it has no effect.
        **parent: ``arch``, ``img_size``, ``patch_size``, ``in_channels``, ``drop_path_rate``,
            ``out_type`` and so on of ``mmpretrain.VisionTransformer``. ViT-S/16 is
            ``arch='deit-small'`` there; its own 'small' is another network.

    Attributes:
        feature_channels (tuple): Width of the features of each level.
        feature_strides (tuple): Pixels a token of each level.
        mask_unit (int): Pixels of the mask's unit: the patch size.
        num_extra_tokens (int): 1 with a class token, else 0.

    Raises:
        ValueError: ``out_indices`` names a layer that does not exist, or is not in rising order;
            the heads do not share out the width.
        TypeError: ``parent`` has a field that ``VisionTransformer`` does not know.

    Examples:
        >>> encoder = MaskedViT(arch='deit-tiny', img_size=64, patch_size=16, out_indices=(5, 11))
        >>> mask = torch.ones(2, 4, 4, dtype=torch.bool)
        >>> mask[:, 0] = False  # 4 of 16 patches are visible, and the class token goes first
        >>> [level.shape for level in encoder(torch.rand(2, 3, 64, 64), mask)]
        [torch.Size([2, 5, 192]), torch.Size([2, 5, 192])]
    """

    def __init__(self, out_indices: Union[int, Sequence[int]] = (2, 5, 8, 11),
                 with_input: bool = False, with_cp: bool = False, **parent: Any) -> None:
        if 'patch_cfg' in parent or 'frozen_stages' in parent:
            raise TypeError('MaskedViT does not support patch_cfg or frozen_stages: the stock '
                            'mmpretrain.VisionTransformer does')
        # The parent refuses negative entries of a tuple and writes into a list of the caller's.
        wanted = [out_indices] if isinstance(out_indices, Integral) else list(out_indices)
        super().__init__(out_indices=-1, **parent)
        indices = [index + self.num_layers if index < 0 else index for index in wanted]
        if not indices or sorted(set(indices)) != indices or not (
                0 <= indices[0] and indices[-1] < self.num_layers):
            raise ValueError(f'out_indices {tuple(wanted)} must be different layers in rising '
                             f'order from 0 to {self.num_layers - 1}')
        heads = self.arch_settings['num_heads']
        if self.embed_dims % heads:  # the parent would find out in its first step
            raise ValueError(f'arch: embed_dims {self.embed_dims} must be a multiple of num_heads '
                             f'{heads}')
        self.out_indices = indices
        self.with_input = with_input
        self.with_cp = with_cp
        for layer in self.layers:
            layer.attn = SelfAttention.of(layer.attn)
        plain_drop_rates(self)

        kernel = self.patch_embed.projection.kernel_size
        if kernel[0] != kernel[1]:
            raise ValueError(f'patch_size must be square, not {kernel}')
        self.mask_unit = kernel[0]
        levels = len(indices) + with_input
        self.feature_channels = (self.embed_dims, ) * levels
        self.feature_strides = (self.mask_unit, ) * levels

        self.pos_embed.requires_grad = False
        for norm in ('ln1', 'ln2'):
            if hasattr(self, norm):
                getattr(self, norm).requires_grad_(False)

    def init_weights(self) -> None:
        """Xavier-uniform patch embedding, sine-cosine positions, class token N(0, 0.02).

        Nothing is touched where ``init_cfg`` loads a checkpoint.
        """
        # The grandparent's: VisionTransformer draws the positions anew, also after a list of
        # init_cfg has loaded them, and they are set below anyway.
        super(VisionTransformer, self).init_weights()
        if loads_checkpoint(self.init_cfg):
            return
        positions = sincos_positions(tuple(self.patch_resolution), self.embed_dims)
        with torch.no_grad():
            self.pos_embed.zero_()  # the class token's position stays zero
            self.pos_embed[:, self.num_extra_tokens:] = positions
        # The convolution is a linear layer on flattened patches, and is initialised as one.
        nn.init.xavier_uniform_(self.patch_embed.projection.weight.flatten(1))
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=0.02)

    def train(self, mode: bool = True) -> 'MaskedViT':
        """Sets training mode and returns self, which the parent forgets."""
        super().train(mode)
        return self

    def forward(self, images: Tensor,
                plan: Union[MaskPlan, Tensor, None] = None) -> Union[List[Tensor], tuple]:
        """Encodes images.

        Args:
            images: Normalised images (B, C, H, W), H and W multiples of the patch size.
            plan: Of a mask (B or 1, H / patch, W / patch), or the mask itself, bool, True =
                masked; None for the parent's forward pass.

        Returns:
            With a plan a list of (B, extra + visible, C), one for each of ``out_indices``,
            before any final norm: the class token first, if any, then the visible patches in
            raster order. Without one what the parent returns.

        Raises:
            ValueError: Image size or mask do not fit the patch size.
        """
        if plan is None:
            return super().forward(images)
        tokens = self._embed_visible(images, as_plan(plan, images.device))
        features = [tokens] if self.with_input else []
        for index, layer in enumerate(self.layers):
            if self.with_cp and self.training:
                tokens = checkpoint(layer, tokens, use_reentrant=False)
            else:
                tokens = layer(tokens)
            if index in self.out_indices:
                features.append(tokens)
            if index == self.out_indices[-1]:
                break
        return features

    def _embed_visible(self, images: Tensor, plan: MaskPlan) -> Tensor:
        """(B, C, H, W) -> (B, extra + visible, D)."""
        batch, _, height, width = images.shape
        patch = self.mask_unit
        if height % patch or width % patch:
            raise UserError(f'image size {height}x{width} must be divisible by the patch size '
                            f'{patch}')
        grid = (height // patch, width // patch)
        if plan.grid != grid or plan.mask.shape[0] not in (1, batch):
            raise ValueError(f'mask {tuple(plan.mask.shape)} must be ({batch} or 1, {grid[0]}, '
                             f'{grid[1]}): one unit for each {patch}x{patch} patch')

        # (B, C, rows, P, cols, P) -> view (B, rows, cols, C, P, P): picking the visible cells of
        # the view copies those alone, (B, visible, C, P, P).
        cells = images.unflatten(3, (grid[1], patch)).unflatten(2, (grid[0], patch))
        cells = cells.permute(0, 2, 4, 1, 3, 5)
        which = torch.arange(batch, device=images.device).unsqueeze(1)
        visible = cells[which, plan.visible // grid[1], plan.visible % grid[1]].flatten(2)
        projection = self.patch_embed.projection
        tokens = F.linear(visible, projection.weight.flatten(1), projection.bias)

        positions = resize_pos_embed(self.pos_embed, self.patch_resolution, grid,
                                     mode=self.interpolate_mode,
                                     num_extra_tokens=self.num_extra_tokens)
        extra, positions = positions.split(
            [self.num_extra_tokens, positions.shape[1] - self.num_extra_tokens], dim=1)
        tokens = tokens + take(positions[0], plan.visible)
        if self.cls_token is not None:
            tokens = torch.cat([(self.cls_token + extra).expand(batch, -1, -1), tokens], dim=1)
        return self.pre_norm(self.drop_after_pos(tokens))
