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
    """Groups of windows, as indices. All tensors are on the CPU until :meth:`to` copies them.

    ``bias_index``: int32 (groups, slots, slots), one more than the row of the relative position
    table for each pair of query and key; 0, or one more than its last row, for pairs that do not
    attend to each other: those of different windows. Each empty slot is a window of its own.

    ``token_of_slot``: int64 (groups * slots,), the token in each slot; token 0 in empty ones.
    ``slot_of_token``: int64 (tokens,), its inverse. Both are None where all tokens form one group
    in the order they have.
    """
    bias_index: Tensor
    token_of_slot: Optional[Tensor]
    slot_of_token: Optional[Tensor]


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
        slots: Tokens a group can hold, at least the ``window ** 2`` of a full window, which is
            the default.

    Returns:
        The groups: one alone, without reordering, if all tokens fit into it; else
        :func:`usual_groups` of them, or more where that is not enough.
    """
    slots = slots or window**2
    tokens = len(positions)
    row, column = ((positions + (window - shift) % window) // window).T
    name = row * (column.max() + 1) + column
    if tokens <= slots:
        return WindowGroups(_bias_index(positions[None], name[None], window), None, None)

    _, which, counts = np.unique(name, return_inverse=True, return_counts=True)
    groups, starts, needed = pack_windows(counts.tolist(), slots)
    number = max(needed, usual_groups(tokens, slots))
    first_slot = np.asarray(groups) * slots + np.asarray(starts)
    # Sorted by window, a token's rank within its window is its distance from the window's first.
    by_window = np.argsort(which, kind='stable')
    rank = np.arange(tokens) - np.repeat(np.cumsum(counts) - counts, counts)
    slot_of_token = np.empty(tokens, dtype=np.int64)
    slot_of_token[by_window] = first_slot[which[by_window]] + rank

    token_of_slot = np.zeros(number * slots, dtype=np.int64)
    token_of_slot[slot_of_token] = np.arange(tokens)
    names = -1 - np.arange(number * slots)
    names[slot_of_token] = name
    bias_index = _bias_index(positions[token_of_slot].reshape(number, slots, 2),
                             names.reshape(number, slots), window)
    return WindowGroups(bias_index, torch.from_numpy(token_of_slot),
                        torch.from_numpy(slot_of_token))


def _bias_index(positions: np.ndarray, names: np.ndarray, window: int) -> Tensor:
    """(groups, slots, 2) and the windows' names (groups, slots) -> (groups, slots, slots)."""
    # The row of the table is linear in the distance of query and key, so one difference of
    # numbers does. Windows are far apart in these numbers: pairs of two fall off either end.
    rows = (2 * window - 1)**2
    reach = int(positions.max() + 1) * 2 * window
    place = positions @ [2 * window - 1, 1] + names * (2 * reach + rows)
    if np.abs(place).max() < 2**30:  # always, but for images of many thousand pixels
        place = place.astype(np.int32)
    index = place[:, :, None] - place[:, None, :]
    index += 2 * window * (window - 1) + 1
    np.clip(index, 0, rows + 1, out=index)
    return torch.from_numpy(index.astype(np.int32, copy=False))
