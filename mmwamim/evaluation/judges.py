"""What features are worth, computed on any device in pieces that fit: k-NN, linear probe, rank.

Features stay where they are, for a large bank on the CPU, and go to the device a piece at a time.
"""
from typing import Iterator, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwamim.errors import UserError

Device = Union[str, torch.device, None]


def nearest_neighbours(bank: Tensor, queries: Tensor, k: int, device: Device = None,
                       piece: int = 65536, part: int = 1024) -> Tuple[Tensor, Tensor]:
    """The k nearest of a bank for every query, by cosine similarity, exactly.

    Args:
        bank: Features, (N, C).
        queries: Features, (M, C).
        k: Neighbours, at most N are found.
        device: Where to compute. Default: where the bank is.
        piece: Rows of the bank on the device at a time.
        part: Queries at a time; similarities of a part with a piece take ``piece * part`` floats.

    Returns:
        Similarities (M, k), falling, and places in the bank, int64 (M, k), both on the device.
    """
    device = device or bank.device
    best = [(torch.empty(len(rows), 0, device=device),
             torch.empty(len(rows), 0, dtype=torch.long, device=device))
            for rows in queries.split(part)]
    for first in range(0, len(bank), piece):
        known = F.normalize(bank[first:first + piece].to(device).float(), dim=1)
        for number, rows in enumerate(queries.split(part)):
            similarity = F.normalize(rows.to(device).float(), dim=1) @ known.T
            found, places = similarity.topk(min(k, len(known)), dim=1)
            # The nearest of all pieces so far are among the nearest before and those of this one.
            found = torch.cat([best[number][0], found], dim=1)
            places = torch.cat([best[number][1], places + first], dim=1)
            found, order = found.topk(min(k, found.shape[1]), dim=1)
            best[number] = found, places.gather(1, order)
    similarities, places = zip(*best)
    return torch.cat(similarities), torch.cat(places)


def knn_accuracy(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor,
                 k: int = 20, temperature: float = 0.07, device: Device = None,
                 piece: int = 65536) -> float:
    """Accuracy of a weighted vote of the k nearest neighbours by cosine similarity.

    A neighbour of similarity s votes with ``exp(s / temperature)``.
    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination".

    Args:
        bank: Features of known labels, (N, C).
        bank_labels: int64 (N,).
        queries: Features to classify, (M, C).
        query_labels: int64 (M,).
        k: Neighbours, at most N are used.
        temperature: Of the votes.
        device: Where to compute. Default: where the bank is.
        piece: Rows of the bank on the device at a time.

    Returns:
        Percent of right queries.

    Raises:
        ValueError: There is nothing to compare.
    """
    if len(bank) == 0 or len(queries) == 0:
        raise UserError(f'k-NN needs images on both sides, not {len(bank)} and {len(queries)}')
    similarities, places = nearest_neighbours(bank, queries, k, device, piece)
    device = similarities.device
    bank_labels, query_labels = bank_labels.to(device), query_labels.to(device)
    classes = int(max(bank_labels.max(), query_labels.max())) + 1
    right = torch.zeros((), dtype=torch.long, device=device)
    for similarity, nearest, labels in zip(similarities.split(1024), places.split(1024),
                                           query_labels.split(1024)):
        votes = torch.zeros(len(labels), classes, device=device)
        votes.scatter_add_(1, bank_labels[nearest], (similarity / temperature).exp())
        right += (votes.argmax(1) == labels).sum()
    return 100 * int(right) / len(queries)


def linear_accuracy(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor,
                    weight_decay: float = 1e-3, steps: int = 200, device: Device = None,
                    piece: int = 65536) -> float:
    """Accuracy of logistic regression on frozen features, which are standardised first.

    The optimum is found by L-BFGS, so that no rate, schedule or seed matters.

    Args:
        bank: Features to learn from, (N, C).
        bank_labels: int64 (N,).
        queries: Features to classify, (M, C).
        query_labels: int64 (M,).
        weight_decay: Factor of the squared weights, next to the mean cross entropy.
        steps: At most as many iterations.
        device: Where to compute. Default: where the bank is.
        piece: Rows of features on the device at a time.

    Returns:
        Percent of right queries.

    Raises:
        ValueError: There is nothing to learn from or to classify.
    """
    if len(bank) == 0 or len(queries) == 0:
        raise UserError(f'linear probing needs images on both sides, not {len(bank)} and '
                         f'{len(queries)}')
    device = device or bank.device
    std, mean = (value.to(device) for value in torch.std_mean(bank.float(), dim=0))
    scale = std.clamp_min(1e-6)
    classes = int(max(bank_labels.max(), query_labels.max())) + 1
    weight = torch.zeros(classes, bank.shape[1], device=device, requires_grad=True)
    bias = torch.zeros(classes, device=device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn='strong_wolfe')

    def pieces(features: Tensor, labels: Tensor) -> Iterator[Tuple[Tensor, Tensor]]:
        for rows, of in zip(features.split(piece), labels.split(piece)):
            yield (rows.to(device).float() - mean) / scale, of.to(device)

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = weight_decay * weight.square().sum()
        total.backward()
        total = total.detach()
        for features, labels in pieces(bank, bank_labels):
            loss = F.cross_entropy(F.linear(features, weight, bias), labels,
                                   reduction='sum') / len(bank)
            loss.backward()
            total += loss.detach()
        return total

    with torch.enable_grad():
        optimizer.step(closure)
    right = torch.zeros((), dtype=torch.long, device=device)
    with torch.no_grad():
        for features, labels in pieces(queries, query_labels):
            right += (F.linear(features, weight, bias).argmax(1) == labels).sum()
    return 100 * int(right) / len(queries)


def effective_rank(features: Tensor, device: Device = None, piece: int = 65536) -> float:
    """How many directions the features use: exp of the entropy of the normalised singular values.

    Features are centred first. Source: Roy & Vetterli, "The effective rank: a measure of
    effective dimensionality".

    Args:
        features: (N, C), N at least 2.
        device: Where to compute. Default: where the features are.
        piece: Rows on the device at a time.

    Returns:
        From 1 (all on one line) to min(N - 1, C); 0 where all features are the same.
    """
    if len(features) < 2:
        raise UserError(f'the effective rank needs at least 2 features, not {len(features)}')
    device = device or features.device
    mean = sum(rows.double().sum(0) for rows in features.split(piece)).to(device) / len(features)
    # The singular values of a matrix are those of its triangular factor, which grows by pieces.
    triangle = torch.empty(0, features.shape[1], dtype=torch.double, device=device)
    squares = torch.zeros((), dtype=torch.double, device=device)
    for rows in features.split(piece):
        rows = rows.to(device).double()
        squares += rows.square().sum()
        triangle = torch.linalg.qr(torch.cat([triangle, rows - mean]), mode='r').R
    values = torch.linalg.svdvals(triangle)
    # What is left of equal features after centring is rounding, not a direction.
    values = values[values > 1e-12 * squares.sqrt()]
    if len(values) == 0:
        return 0.
    shares = values / values.sum()
    return float((-(shares * shares.log()).sum()).exp())
