"""Moves tokens to their places, with gradients that are moved back. Pure functions.

Autograd would look for places that were read twice, by sorting them or by adding up atomically,
in every backward pass. A plan knows better: each token has one place.
"""
import torch
from torch import Tensor


def reorder(tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """``tokens[b, order[b]]`` for each image b.

    Args:
        tokens: (B, N, C).
        order: int64 (B or 1, M), the token in each place.
        inverse: int64 (B or 1, N), the place that holds each token. Other places may hold any
            token, if nothing that counts depends on them: their gradient is dropped.

    Returns:
        (B, M, C).
    """
    return _Reorder.apply(tokens, order, inverse)


def take(table: Tensor, places: Tensor) -> Tensor:
    """``table[places]``, where the places of an image are different ones.

    Args:
        table: (N, C), the same for every image.
        places: int64 (B or 1, M).

    Returns:
        (B or 1, M, C).
    """
    return _Take.apply(table, places)


def pick(tokens: Tensor, places: Tensor) -> Tensor:
    """``tokens[b, places[b]]`` for each image b, where the places of an image are different ones.

    Args:
        tokens: (B, N, C).
        places: int64 (B or 1, M); with M = N it is cheaper to :func:`reorder`.

    Returns:
        (B, M, C).
    """
    return _Pick.apply(tokens, places)


def put(tokens: Tensor, places: Tensor, length: int) -> Tensor:
    """Puts tokens (B, M, ...) at their places, int64 (B or 1, M), among zeros: (B, length, ...)."""
    index = places.view(*places.shape, *[1] * (tokens.dim() - 2)).expand_as(tokens)
    zeros = tokens.new_zeros(tokens.shape[0], length, *tokens.shape[2:])
    return zeros.scatter(1, index, tokens)


class _Reorder(torch.autograd.Function):
    """The gradient of ``tokens[:, order]`` is ``gradient[:, inverse]``."""

    @staticmethod
    def forward(ctx, tokens: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return _select(tokens, order)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _select(gradient, ctx.saved_tensors[0]), None, None


class _Pick(torch.autograd.Function):
    """The gradient of a token that was picked is its copy's, that of others zero."""

    @staticmethod
    def forward(ctx, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.length = tokens.shape[1]
        return _select(tokens, places)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return put(gradient, ctx.saved_tensors[0], ctx.length), None


class _Take(torch.autograd.Function):
    """The gradient of a table is the sum of what its copies get, over images."""

    @staticmethod
    def forward(ctx, table: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.length = table.shape[0]
        return table.index_select(0, places.flatten()).view(*places.shape, table.shape[1])

    @staticmethod
    def backward(ctx, gradient: Tensor):
        places, = ctx.saved_tensors
        if gradient.device.type == 'cpu':  # one thread adds up in order, which is fast
            table = gradient.new_zeros(ctx.length, gradient.shape[2])
            return table.index_add_(0, places.flatten(), gradient.flatten(0, 1)), None
        # Elsewhere adding up to the same few rows would queue, and round in half precision.
        return put(gradient, places, ctx.length).sum(0), None


def _select(tokens: Tensor, order: Tensor) -> Tensor:
    """``tokens[b, order[b]]`` for each image b."""
    if order.shape[0] == 1 and tokens.device.type != 'cpu':
        return tokens.index_select(1, order[0])
    # Whole rows, which is the only way for different orders, and by far the fastest on the CPU.
    batch, length, channels = tokens.shape
    first = torch.arange(batch, device=tokens.device).unsqueeze(1) * length
    rows = tokens.reshape(batch * length, channels).index_select(0, (first + order).flatten())
    return rows.view(batch, -1, channels)
