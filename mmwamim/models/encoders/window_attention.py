"""Swin's attention and patch merging for visible tokens alone. Pure functions."""
import torch
import torch.nn.functional as F
from mmpretrain.models.utils import WindowMSA
from torch import Tensor, nn

from .window_groups import WindowGroups


def group_attention(attention: WindowMSA, tokens: Tensor, groups: WindowGroups) -> Tensor:
    """Window attention with relative position bias among visible tokens.

    Args:
        attention: mmpretrain's window attention, whose parameters are used.
        tokens: (B, visible, C).
        groups: Which of them attend to which, on the device of ``tokens``.

    Returns:
        (B, visible, C).
    """
    batch, _, channels = tokens.shape
    number, slots, _ = groups.bias_index.shape
    heads = attention.num_heads
    qkv = attention.qkv(tokens)
    if groups.token_of_slot is not None:
        qkv = reorder(qkv, groups.token_of_slot, groups.slot_of_token)
    # (B, G * S, 3 * C) -> (3, B, G, heads, S, C / heads); groups and heads share one axis, so
    # that the bias, which is the same for every image, is broadcast over the batch.
    query, key, value = qkv.view(batch, number, slots, 3, heads, channels // heads).permute(
        3, 0, 1, 4, 2, 5).flatten(2, 3)
    bias = pair_bias(attention.relative_position_bias_table, groups.bias_index)
    out = _attend(query, key, value, bias.flatten(0, 1)[None].to(query.dtype), attention.scale,
                  attention.attn_drop.p if attention.training else 0.)
    # (B, G * heads, S, C / heads) -> (B, G * S, C)
    out = out.unflatten(1, (number, heads)).transpose(2, 3).reshape(batch, number * slots, channels)
    if groups.slot_of_token is not None:
        out = reorder(out, groups.slot_of_token, groups.token_of_slot)
    return attention.proj_drop(attention.proj(out))


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float,
            dropout: float) -> Tensor:
    """Attention with a bias that is learnt."""
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout,
                                              scale=scale)
    # For a learnt bias torch has no fused kernel on the CPU, and looks through all scores for
    # rows that attend to nothing, of which there are none.
    scores = (query * scale) @ key.transpose(-2, -1)
    return F.dropout(scores.add_(bias).softmax(-1), dropout) @ value


def pair_bias(table: Tensor, index: Tensor) -> Tensor:
    """Relative position bias of pairs: (rows, heads), (G, S, S) -> (G, heads, S, S).

    Minus infinity for pairs that do not attend to each other. Every slot attends at least to
    itself; an empty one to nothing else, so that no gradient reaches the table from it.
    """
    nothing = table.new_full((1, table.shape[1]), -torch.inf)
    return F.embedding(index, torch.cat([nothing, table, nothing])).permute(0, 3, 1, 2)


def merge_patches(merging: nn.Module, tokens: Tensor) -> Tensor:
    """mmcv's patch merging of visible tokens in nested order: (B, 4n, C) -> (B, n, 2C).

    Its reduction was trained on channel-major input (C, 2 x 2), not on the original Swin's.
    """
    batch, _, channels = tokens.shape
    x = tokens.view(batch, -1, 4, channels).transpose(2, 3).flatten(2)
    return merging.reduction(merging.norm(x) if merging.norm is not None else x)


def reorder(tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """``tokens[:, order]``, fast in both directions.

    Args:
        tokens: (B, N, C).
        order: int64 (M,), the token in each place.
        inverse: int64 (N,), the place that holds each token. Other places may hold any token,
            if nothing that counts depends on them: their gradient is dropped.

    Returns:
        (B, M, C).
    """
    return _Reorder.apply(tokens, order, inverse)


class _Reorder(torch.autograd.Function):
    """``tokens[:, order]``, whose gradient is ``gradient[:, inverse]``.

    Autograd would add up gradients index by index. Every real token stands in one slot alone, so
    its gradient is a selection as well; that of empty slots is dropped (nothing they hold
    reaches a real token).
    """

    @staticmethod
    def forward(ctx, tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return _select(tokens, order)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _select(gradient, ctx.saved_tensors[0]), None, None


def _select(tokens: Tensor, order: Tensor) -> Tensor:
    """``tokens[:, order]`` as a selection of whole rows, which is far faster on the CPU."""
    batch, length, channels = tokens.shape
    first = torch.arange(batch, device=tokens.device).unsqueeze(1) * length
    rows = tokens.reshape(batch * length, channels).index_select(0, (first + order).flatten())
    return rows.view(batch, -1, channels)
