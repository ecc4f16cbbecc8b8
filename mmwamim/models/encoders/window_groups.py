"""Which visible tokens of a windowed transformer attend together. Pure functions, CPU only.

Where three quarters of an image are masked, windows hold few visible tokens each, and different
numbers of them. Windows are packed into groups of a fixed number of slots, and attention runs on
groups, with the pairs of different windows switched off: few, equally large matrices.

Source: Huang et al., "Green Hierarchical Vision Transformer for Masked Image Modeling", group
window attention. There the packing is an exact knapsack; first-fit decreasing is used here,
which finds no worse packings of such windows, in microseconds.
"""
from functools import lru_cache
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor


class WindowGroups(NamedTuple):
    """Groups of windows, as int64 indices.

    ``name``: (groups, slots), the window of each slot: slots of one name attend to each other. Each
    empty slot is a window of its own.

    ``place``: (groups, slots), of each slot, such that the difference of two in a window is that of
    their rows of the relative position table.

    ``token_of_slot``: (1, groups * slots), the token in each slot; token 0 in empty ones.
    ``slot_of_token``: (1, tokens), its inverse. Both are None where all tokens form one group in
    the order they have, without empty slots.
    """
    name: Tensor
    place: Tensor
    token_of_slot: Optional[Tensor]
    slot_of_token: Optional[Tensor]


class Stage(NamedTuple):
    """What one stage must know of the mask: the groups of its plain and its shifted blocks (None
    where they do not shift), and for its output, after merging, the order that puts tokens into
    raster order and its inverse, both int64 (1, tokens), or None where they have it."""
    plain: WindowGroups
    shifted: Optional[WindowGroups]
    raster: Optional[Tuple[Tensor, Tensor]]


class WindowPlan(NamedTuple):
    """All that depends on the mask alone: the rows and columns of the visible patches in nested
    order, int64 (visible,) each, and the stages."""
    rows: Tensor
    columns: Tensor
    stages: Tuple[Stage, ...]


@lru_cache(maxsize=32)
def nested_order(size: int) -> np.ndarray:
    """Positions of the tokens of a square unit, such that patch merging is a reshape.

    The order is nested: each four successive tokens form a 2x2 block in raster order, each four
    successive blocks a larger one, and so on.

    Args:
        size: Tokens along the unit's side, a power of two.

    Returns:
        int64 (size * size, 2), row and column. Shared: do not write into it.
    """
    if size == 1:
        return np.zeros((1, 2), dtype=np.int64)
    corners = np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) * (size // 2)
    return (corners[:, None] + nested_order(size // 2)).reshape(-1, 2)


def token_positions(units: np.ndarray, size: int) -> np.ndarray:
    """Rows and columns of the tokens of some mask units, unit by unit, in nested order.

    Args:
        units: int64 (units, 2), row and column of each visible unit.
        size: Tokens along a unit's side.

    Returns:
        int64 (units * size * size, 2).
    """
    return (units[:, None] * size + nested_order(size)).reshape(-1, 2)


def pack_windows(counts: Sequence[int], slots: int) -> Tuple[List[int], List[int], int]:
    """Packs windows into groups: the largest first, each into the first group with room.

    Args:
        counts: Visible tokens of each window, none more than ``slots``.
        slots: Tokens a group can hold.

    Returns:
        For each window its group and its first slot there, and the number of groups.
    """
    groups, starts, filled = [0] * len(counts), [0] * len(counts), []
    for window in sorted(range(len(counts)), key=lambda index: -counts[index]):
        count = counts[window]
        group = 0
        while group < len(filled) and filled[group] + count > slots:
            group += 1
        if group == len(filled):
            filled.append(0)
        groups[window], starts[window] = group, filled[group]
        filled[group] += count
    return groups, starts, len(filled)


def usual_groups(tokens: int, slots: int) -> int:
    """The number of groups that nearly every mask can be packed into: 1/16 more than fit, and
    one. Padding to it gives each step the same shapes."""
    return -(-tokens * 17 // (slots * 16)) + 1


def group_windows(positions: np.ndarray, window: int, shift: int,
                  slots: Optional[int] = None) -> WindowGroups:
    """Groups the visible tokens by window.

    A shifted window does not go round the border: what Swin rolls to the other side attends to
    itself alone, which is the same as windows cut off at the border.

    Args:
        positions: int64 (tokens, 2), row and column of each visible token.
        window: Side of a window, in tokens.
        shift: How far down and right the windows start, 0 to ``window - 1``.
        slots: Tokens a group can hold, at least the ``window ** 2`` of a full window. Default:
            that many, rounded up to a multiple of 8, so that the rows of an attention bias lie
            in memory as fast kernels want them.

    Returns:
        The groups: one alone if all tokens fit into it; else :func:`usual_groups` of them, or
        more where that is not enough.
    """
    slots = slots or _round_up(window**2)
    tokens = len(positions)
    row, column = ((positions + (window - shift) % window) // window).T
    name = row * (column.max() + 1) + column
    place = positions @ [2 * window - 1, 1]
    if tokens <= slots:
        slots, number = _round_up(tokens), 1
        slot_of_token = np.arange(tokens)
    else:
        slot_of_token, needed = _assign_slots(name, slots)
        number = max(needed, usual_groups(tokens, slots))

    token_of_slot = np.zeros(number * slots, dtype=np.int64)
    token_of_slot[slot_of_token] = np.arange(tokens)
    names = -1 - np.arange(number * slots)
    names[slot_of_token] = name
    moved = number * slots > tokens or number > 1
    return WindowGroups(
        torch.from_numpy(names.reshape(number, slots)),
        torch.from_numpy(place[token_of_slot].reshape(number, slots)),
        torch.from_numpy(token_of_slot[None]) if moved else None,
        torch.from_numpy(slot_of_token[None]) if moved else None)


def _round_up(count: int) -> int:
    return -(-count // 8) * 8


def _assign_slots(name: np.ndarray, slots: int) -> Tuple[np.ndarray, int]:
    """The slot of each token, given the name of its window, and the number of groups."""
    _, which, counts = np.unique(name, return_inverse=True, return_counts=True)
    groups, starts, needed = pack_windows(counts.tolist(), slots)
    first_slot = np.asarray(groups) * slots + np.asarray(starts)
    # Sorted by window, a token's rank within its window is its distance from the window's first.
    by_window = np.argsort(which, kind='stable')
    rank = np.arange(len(name)) - np.repeat(np.cumsum(counts) - counts, counts)
    slot_of_token = np.empty(len(name), dtype=np.int64)
    slot_of_token[by_window] = first_slot[which[by_window]] + rank
    return slot_of_token, needed
