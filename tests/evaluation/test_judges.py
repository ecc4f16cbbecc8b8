"""Judging in pieces gives what judging all at once gives."""
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from mmwamim.evaluation.judges import (
    effective_rank,
    knn_accuracy,
    linear_accuracy,
    nearest_neighbours,
)
from tests.support.models import noise


def labels(count, seed=0):
    return torch.randint(0, 5, (count, ), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('piece, part', [(7, 3), (50, 20), (1000, 1000)])
@pytest.mark.parametrize('k', [1, 6, 120])
def test_neighbours_are_those_of_the_whole_bank(piece, part, k):
    bank, queries = noise(100, 8), noise(40, 8, seed=1)
    all_at_once = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T
    expected, places = all_at_once.sort(dim=1, descending=True)
    found, nearest = nearest_neighbours(bank, queries, k, 'cpu', piece, part)
    torch.testing.assert_close(found, expected[:, :k])
    assert torch.equal(nearest, places[:, :k])
    accuracy = knn_accuracy(bank, labels(100), queries, labels(40, 1), k, piece=piece)
    assert accuracy == vote(all_at_once, labels(100), labels(40, 1), k)


def vote(similarities, bank_labels, truth, k):
    """The obvious way, a query at a time."""
    right = 0
    for row, label in zip(similarities.tolist(), truth.tolist(), strict=True):
        votes = [0.] * 5
        for similarity, of in sorted(zip(row, bank_labels.tolist(), strict=True))[-k:]:
            votes[of] += math.exp(similarity / 0.07)
        right += votes.index(max(votes)) == label
    return 100 * right / len(truth)


@pytest.mark.parametrize('piece', [13, 1000])
def test_linear_probe_is_that_of_scikit_learn(piece):
    bank, known = noise(150, 6), labels(150)
    bank[:, 0] += known  # something to learn
    queries, truth = noise(60, 6, seed=1), labels(60, 1)
    queries[:, 0] += truth
    # There the loss is C * sum + half the squares: C = 1 / (2 * weight_decay * N).
    mean, std = bank.mean(0), bank.std(0)
    theirs = LogisticRegression(C=1 / (2 * 1e-3 * 150), tol=1e-8, max_iter=1000).fit(
        ((bank - mean) / std).numpy(), known.numpy())
    expected = 100 * theirs.score(((queries - mean) / std).numpy(), truth.numpy())
    assert linear_accuracy(bank, known, queries, truth, piece=piece) == pytest.approx(expected)
    assert 30 < expected < 90


@pytest.mark.parametrize('piece', [3, 9, 1000])
def test_rank_is_that_of_the_whole(piece):
    features = noise(50, 8) * torch.arange(8.)
    values = np.linalg.svd(features.double().numpy() - features.double().numpy().mean(0),
                           compute_uv=False)
    shares = values[values > 1e-9] / values.sum()
    assert effective_rank(features, piece=piece) == pytest.approx(
        math.exp(-(shares * np.log(shares)).sum()))
    line = torch.arange(10.)[:, None] * torch.tensor([[1., 2., 3.]])
    assert effective_rank(line, piece=piece) == pytest.approx(1)
    assert effective_rank(torch.ones(5, 3), piece=piece) == 0
