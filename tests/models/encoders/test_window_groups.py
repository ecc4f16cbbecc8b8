import itertools

import numpy as np
import pytest
import torch
from mmpretrain.models.utils import WindowMSA

from mmwamim.models.encoders.window_attention import pair_rows
from mmwamim.models.encoders.window_groups import (
    group_windows,
    nested_order,
    pack_windows,
    token_positions,
    usual_groups,
)


def positions_of(units, size):
    return token_positions(np.array(units), size)


def random_units(grid, visible, seed):
    chosen = np.sort(np.random.default_rng(seed).permutation(grid * grid)[:visible])
    return np.stack([chosen // grid, chosen % grid], axis=1)


def test_nested_order_by_hand():
    assert nested_order(1).tolist() == [[0, 0]]
    assert nested_order(2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert nested_order(4)[4:8].tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert nested_order(4)[8].tolist() == [2, 0]


@pytest.mark.parametrize('size', [2, 4, 8])
def test_four_successive_tokens_are_one_merged_token(size):
    positions = positions_of([(0, 1), (2, 0)], size)
    merged = positions_of([(0, 1), (2, 0)], size // 2)
    blocks = positions.reshape(-1, 4, 2)
    assert (blocks // 2 == merged[:, None]).all()
    assert (blocks % 2 == [[0, 0], [0, 1], [1, 0], [1, 1]]).all()


def test_packing_by_hand():
    # Descending 5, 4, 3, 2, 1: 5 + 2 | 4 + 3, and 1 opens a third group.
    groups, starts, number = pack_windows([1, 2, 3, 4, 5], slots=7)
    assert (groups, starts, number) == ([2, 0, 1, 1, 0], [0, 5, 4, 0, 0], 3)


@pytest.mark.parametrize('seed', range(20))
def test_packing_overfills_no_group_and_overlaps_no_window(seed):
    counts = np.random.default_rng(seed).integers(1, 50, 60).tolist()
    groups, starts, number = pack_windows(counts, slots=49)
    taken = [(group, start + k) for group, start, count in zip(groups, starts, counts, strict=True)
             for k in range(count)]
    assert len(set(taken)) == sum(counts)
    assert max(slot for _, slot in taken) < 49
    assert {group for group, _ in taken} == set(range(number))


def slow_windows(positions, window, shift):
    """The window of each token as Swin makes it: rolled, cut, and parts that were apart kept
    apart by their mask."""
    return [((row - shift) // window if row >= shift else -1,
             (column - shift) // window if column >= shift else -1) for row, column in positions]


@pytest.mark.parametrize('grid, size, window, shift, visible', [
    (7, 8, 7, 0, 12), (7, 8, 7, 3, 12), (7, 4, 7, 3, 12), (7, 2, 7, 3, 12), (7, 1, 7, 0, 12),
    (14, 8, 14, 7, 49), (4, 4, 4, 2, 16), (8, 4, 4, 2, 3)])
def test_each_token_is_in_one_slot_and_pairs_are_those_of_one_window(grid, size, window, shift,
                                                                    visible):
    for seed in range(3):
        positions = positions_of(random_units(grid, visible, seed), size)
        groups = group_windows(positions, window, shift)
        number, slots = groups.name.shape
        tokens = len(positions)
        assert slots % 8 == 0
        if groups.token_of_slot is None:
            assert number == 1 and slots == tokens
            slot_of_token = np.arange(tokens)
        else:
            slot_of_token = groups.slot_of_token[0].numpy()
            assert len(set(slot_of_token.tolist())) == tokens
            assert (groups.token_of_slot[0].numpy()[slot_of_token] == np.arange(tokens)).all()
        assert 0 <= slot_of_token.min() and slot_of_token.max() < number * slots

        # All pairs of tokens: the table's row if they share a window, else nothing.
        table = WindowMSA(8, (window, window), 1).relative_position_index
        names = slow_windows(positions, window, shift)
        local = [tuple((value - shift) % window for value in place) for place in positions]
        index = pair_rows(groups, window).numpy()
        rng = np.random.default_rng(seed)
        pairs = itertools.product(rng.permutation(tokens)[:40], range(tokens))
        for query, key in pairs:
            (group, slot), (other, place) = (divmod(slot_of_token[t], slots) for t in (query, key))
            if names[query] == names[key]:
                assert group == other
                q, k = (local[t][0] * window + local[t][1] for t in (query, key))
                assert index[group, slot, place] == table[q, k] + 1
            elif group == other:
                assert index[group, slot, place] == 0


def test_an_empty_slot_sees_itself_alone_and_nobody_sees_it():
    positions = positions_of(random_units(7, 12, 0), 8)
    groups = group_windows(positions, 7, 3)
    number, slots = groups.name.shape
    empty = np.ones(number * slots, dtype=bool)
    empty[groups.slot_of_token[0].numpy()] = False
    empty = empty.reshape(number, slots)
    assert empty.any()
    attends = pair_rows(groups, 7).numpy() != 0
    for group, slot in np.argwhere(empty):
        assert attends[group, slot].nonzero()[0].tolist() == [slot]
        assert attends[group, :, slot].nonzero()[0].tolist() == [slot]


def test_few_tokens_are_one_group_and_move_only_where_slots_stay_empty():
    whole = group_windows(positions_of(random_units(7, 12, 0), 2), 7, 3)
    assert whole.name.shape == (1, 48) and whole.token_of_slot is None
    padded = group_windows(positions_of(random_units(7, 12, 0), 1), 7, 0)
    assert padded.name.shape == (1, 16)
    assert padded.token_of_slot.tolist() == [[*range(12), 0, 0, 0, 0]]
    assert torch.equal(padded.slot_of_token, torch.arange(12)[None])


@pytest.mark.parametrize('size, shift', [(8, 0), (8, 3), (4, 0), (4, 3)])
def test_nearly_every_mask_gives_the_same_number_of_groups(size, shift):
    numbers = [len(group_windows(positions_of(random_units(7, 12, seed), size), 7, shift)
                   .name) for seed in range(200)]
    usual = usual_groups(12 * size * size, 56)
    assert min(numbers) == usual
    assert np.mean(np.array(numbers) == usual) > 0.95
