"""Swin's attention and patch merging for visible tokens alone. Pure functions."""
from typing import Sequence

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import WindowMSA
from torch import Tensor, nn

from ..precision import precision_of
from ..tokens import reorder
from .window_groups import WindowGroups


def group_attention(attention: WindowMSA, tokens: Tensor, groups: WindowGroups,
                    bias: Tensor) -> Tensor:
    """Window attention with relative position bias among visible tokens.

    Args:
        attention: mmpretrain's window attention, whose parameters are used.
        tokens: (B, visible, C).
        groups: Which of them attend to which, on the device of ``tokens``.
        bias: Of :func:`pair_biases`.

    Returns:
        (B, visible, C).
    """
    batch, _, channels = tokens.shape
    number, slots = groups.name.shape
    heads = attention.num_heads
    qkv = attention.qkv(tokens)
    if groups.token_of_slot is not None:
        qkv = reorder(qkv, groups.token_of_slot, groups.slot_of_token)
    # (B, G * S, 3 * C) -> (3, B, G, heads, S, C / heads); groups and heads share one axis, so
    # that the bias, which is the same for every image, is broadcast over the batch.
    query, key, value = qkv.view(batch, number, slots, 3, heads, channels // heads).permute(
        3, 0, 1, 4, 2, 5).flatten(2, 3)
    out = _attend(query, key, value, bias[None], attention.scale,
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


def pair_rows(groups: WindowGroups, window: int) -> Tensor:
    """One more than the row of the relative position table for each pair of slots, 0 for pairs of
    different windows, which do not attend to each other: int64 (groups, slots, slots).

    Args:
        groups: Of ``window`` x ``window`` tokens.
        window: Side of a window, in tokens.
    """
    together = groups.name[:, :, None] == groups.name[:, None, :]
    distance = groups.place[:, :, None] - groups.place[:, None, :]
    return torch.where(together, distance + 2 * window * (window - 1) + 1, 0)


def pair_biases(tables: Sequence[Tensor], pairs: Tensor) -> Sequence[Tensor]:
    """Relative position biases of several blocks whose pairs are the same.

    Args:
        tables: (rows, heads) of each block.
        pairs: int64 (G, S, S), of :func:`pair_rows`.

    Returns:
        (G * heads, S, S) for each block, in the precision of attention. Minus infinity for pairs
        that do not attend to each other. Every slot attends at least to itself; an empty one to
        nothing else, and no gradient reaches the tables from it.
    """
    blocks, heads = len(tables), tables[0].shape[1]
    rows = F.pad(torch.cat(list(tables), dim=1), (0, 0, 1, 0), value=-torch.inf)
    # (G, S, S, blocks * heads) -> (blocks, G, heads, S, S); cast and laid out in one copy
    bias = F.embedding(pairs, rows).unflatten(3, (blocks, heads)).permute(3, 0, 4, 1, 2)
    bias = bias.to(precision_of(bias), memory_format=torch.contiguous_format)
    return bias.flatten(1, 2).unbind()


def merge_patches(merging: nn.Module, tokens: Tensor) -> Tensor:
    """mmcv's patch merging of visible tokens in nested order: (B, 4n, C) -> (B, n, 2C).

    Its reduction was trained on channel-major input (C, 2 x 2), not on the original Swin's.
    """
    batch, _, channels = tokens.shape
    x = tokens.view(batch, -1, 4, channels).transpose(2, 3).flatten(2)
    return merging.reduction(merging.norm(x) if merging.norm is not None else x)
