"""Partial decoding: which cells of each level one step decodes. Pure functions.

A level's cell is what it decodes at once: a token of the encoder's features, or, where a cell of
the target covers several tokens, all of these. Each image draws its own cells of those of which
something is masked, as many as hold a given share of the masked tokens, so shapes are known
beforehand. The weights of what was drawn make up for what was not: over many draws the loss of
given predictions is that of decoding everything.
"""
from typing import NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from .masking import MaskPlan, is_share, repeat_units, rescale_mask

# Noise is drawn as whole numbers below this one: a float32 in [0, 1) of torch's has 24 bits.
NOISE_BELOW = 2**24


class LevelDraw(NamedTuple):
    """What a step decodes of one level, on the device of the images.

    Attributes:
        cells: int64 (B, K), the drawn cells in raster order, of the coarser one of the grids of
            tokens and target.
        keys: int64 (B, K * n), for n tokens a cell, the masked tokens that take part beside the
            visible ones: those of the drawn cells and, for one number in every image, others in
            the places of visible ones. For n = 1 these are the cells.
        places: int64 (B, K * n), where the tokens of the cells, one cell after the other, stand
            among visible tokens and ``keys``, one after the other; None for n = 1.
        weights: float32 (B, rows, cols), how much each cell counts: zero what is not drawn, and
            over all draws, in the mean, the masked share of the cell.
    """
    cells: Tensor
    keys: Tensor
    places: Optional[Tensor]
    weights: Tensor


def count_drawn(masked: int, share: float, tokens: int = 1) -> int:
    """The number of cells that hold ``share`` of the ``masked`` tokens, ``tokens`` in each; one at
    least.

    Raises:
        ValueError: ``share`` is not above 0 and below 1.
    """
    if not is_share(share):
        raise ValueError('decode_ratio is a share of the masked cells, above 0 and below 1 (leave '
                         f'it out to decode all), not {share!r}')
    return max(1, round(share * masked / tokens))


def draw_noise(batch: int, cells: int) -> Tensor:
    """int64 (batch, cells) of torch's global CPU generator, for :func:`draw_level`."""
    return torch.randint(NOISE_BELOW, (batch, cells))


def draw_level(plan: MaskPlan, noise: Tensor, share: float, tokens: Tuple[int, int]) -> LevelDraw:
    """Draws the cells of one level. Nothing is read back.

    Args:
        plan: Of the level's own tokens.
        noise: int64 (B, rows * cols) of cells, each below :data:`NOISE_BELOW`; of equal values the
            first counts as the smaller.
        share: Of the masked tokens, in (0, 1).
        tokens: A cell's tokens along its sides, rows and columns.

    Raises:
        ValueError: Cells do not divide the tokens' grid, or ``share`` is no share.
    """
    (rows, cols), (high, wide) = plan.grid, tokens
    if rows % high or cols % wide:
        raise ValueError(f'{rows}x{cols} tokens cannot be decoded in whole cells of {high}x{wide}')
    grid = (rows // high, cols // wide)
    count = count_drawn(plan.masked.shape[1], share, high * wide)
    shares = rescale_mask(plan.mask, grid)  # (B or 1, *grid)
    possible = (shares > 0).flatten(1)
    order = noise.masked_fill(~possible, NOISE_BELOW).argsort(dim=1, stable=True)
    cells = order[:, :count].sort(dim=1).values
    drawn = torch.zeros_like(noise, dtype=torch.bool).scatter(1, cells, True).view(-1, *grid)
    # A cell is drawn with probability count / possible cells; they are at least count.
    weights = drawn * shares * (possible.sum(1) / count)[:, None, None]
    if high * wide == 1:
        return LevelDraw(cells, cells, None, weights)
    ahead = plan.arrange(plan.mask, plan.num_visible, predicted=repeat_units(drawn, high, wide),
                         num_predicted=min(count * high * wide, plan.masked.shape[1]))
    places = ahead.inverse.gather(1, tokens_of(cells, grid[1], tokens))
    return LevelDraw(cells, ahead.predicted, places, weights)


def keys_in_parts(plan: MaskPlan, draw: LevelDraw) -> Tensor:
    """Which tokens ask which where all cells are decoded as they are in training, in parts.

    Cells are dealt out at random, but the same way each time, to as many parts as draws make up
    all masked tokens. A token asks the visible ones and the masked ones of its own part.

    Args:
        plan: Of the level's own tokens.
        draw: What a step would decode.

    Returns:
        bool (B or 1, 1, tokens, tokens), True = asks, both in the order of the plan.
    """
    rows, cols = draw.weights.shape[1:]
    parts = max(1, round(plan.masked.shape[1] / draw.keys.shape[1]))
    part = torch.randperm(rows * cols, generator=torch.Generator().manual_seed(0)) % parts
    part = part.to(plan.order.device).view(1, rows, cols)
    part = repeat_units(part, plan.grid[0] // rows, plan.grid[1] // cols).flatten()[plan.order]
    visible = torch.arange(part.shape[1], device=part.device) < plan.num_visible
    return (visible | (part[:, :, None] == part[:, None]))[:, None]


def tokens_of(cells: Tensor, columns: int, tokens: Tuple[int, int]) -> Tensor:
    """The tokens of cells, each cell's in raster order.

    Args:
        cells: int64 (B, K), of a grid of so many ``columns``.
        columns: Of cells.
        tokens: A cell's tokens along its sides, rows and columns.

    Returns:
        int64 (B, K * tokens[0] * tokens[1]), places in the grid of tokens.
    """
    high, wide = tokens
    row, column = cells // columns * high, cells % columns * wide
    down, right = (torch.arange(side, device=cells.device) for side in tokens)
    # (B, K, high, 1) rows and (B, K, 1, wide) columns
    row, column = row[..., None, None] + down[:, None], column[..., None, None] + right
    return (row * (columns * wide) + column).flatten(1)
