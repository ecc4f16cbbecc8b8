import math

import numpy as np
import pytest
import torch
from PIL import Image

from mmwamim.evaluation.features import (
    LabelledImages,
    effective_rank,
    extract_features,
    knn_accuracy,
    pool_features,
    pool_levels,
)
from mmwamim.models import MaskedViT, SparseSwin
from tests.support.models import TINY, noise


def test_pooling():
    tokens = noise(2, 5, 3)
    torch.testing.assert_close(pool_features((None, tokens), 1), tokens[:, 1:].mean(1))
    grid = noise(2, 3, 4, 4)
    torch.testing.assert_close(pool_features([grid]), grid.mean((2, 3)))


def test_every_level_is_pooled_and_the_last_is_the_default():
    tokens, grid, pooled = noise(2, 5, 3), noise(2, 4, 6, 6, seed=1), noise(2, 7, seed=2)
    levels = pool_levels((tokens, grid, pooled), 1)
    for ours, expected in zip(levels, (tokens[:, 1:].mean(1), grid.mean((2, 3)), pooled),
                              strict=True):
        torch.testing.assert_close(ours, expected)
    assert torch.equal(pool_features((tokens, grid, pooled), 1), pooled)


def test_knn_by_hand():
    bank = torch.tensor([[1., 0.], [0.8, 0.6], [0., 1.]])
    labels = torch.tensor([0, 1, 1])
    query = torch.tensor([[3., 0.9]])
    # The nearest is of class 0 ...
    assert knn_accuracy(bank, labels, query, torch.tensor([0]), k=1) == 100
    # ... but with a flat vote two of three neighbours are of class 1,
    assert knn_accuracy(bank, labels, query, torch.tensor([1]), k=3, temperature=1e3) == 100
    # and with a sharp one the nearest decides.
    assert knn_accuracy(bank, labels, query, torch.tensor([0]), k=3, temperature=0.01) == 100
    both = torch.cat([query, torch.tensor([[0., 2.]])])
    assert knn_accuracy(bank, labels, both, torch.tensor([1, 1]), k=1) == 50
    with pytest.raises(ValueError, match='not 3 and 0'):
        knn_accuracy(bank, labels, query[:0], labels[:0])


def test_knn_equals_a_slow_vote():
    bank, queries = noise(200, 8), noise(50, 8, seed=1)
    labels, truth = (torch.randint(0, 5, (n, ), generator=torch.Generator().manual_seed(n))
                     for n in (200, 50))
    right = 0
    for query, label in zip(queries.numpy(), truth.tolist(), strict=True):
        similarity = [(float(np.dot(query, b) / np.linalg.norm(query) / np.linalg.norm(b)), c)
                      for b, c in zip(bank.numpy(), labels.tolist(), strict=True)]
        votes = [0.] * 5
        for s, c in sorted(similarity, reverse=True)[:7]:
            votes[c] += math.exp(s / 0.07)
        right += votes.index(max(votes)) == label
    assert knn_accuracy(bank, labels, queries, truth, k=7) == 100 * right / 50


def test_effective_rank_by_hand():
    line = torch.arange(10.)[:, None] * torch.tensor([[1., 2., 3.]])
    assert effective_rank(line) == pytest.approx(1)
    cross = torch.tensor([[1., 0.], [-1., 0.], [0., 1.], [0., -1.]])
    assert effective_rank(cross) == pytest.approx(2)
    # Singular values 3 and 1 times the root of two: shares 3/4 and 1/4.
    stretched = cross * torch.tensor([3., 1.])
    assert effective_rank(stretched) == pytest.approx(4 / 3**0.75)
    assert effective_rank(torch.ones(5, 3)) == 0
    with pytest.raises(ValueError, match='at least 2'):
        effective_rank(torch.ones(1, 3))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for name in ('a', 'b'):
            path = tmp_path / split / name
            path.mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path / f'{number}.png')
    return tmp_path


def test_chosen_images_are_spread_over_the_classes(folder):
    images = LabelledImages(str(folder / 'train'), 64)
    assert images.labels.tolist() == [0] * 4 + [1] * 4
    assert images[0]['inputs'].shape == (3, 64, 64)
    assert LabelledImages(str(folder / 'train'), 64, most=4).labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize('build', [
    lambda: MaskedViT(arch=TINY, img_size=64, out_indices=(1, 3), out_type='raw'),
    lambda: SparseSwin(arch=dict(embed_dims=16, depths=[1] * 4, num_heads=[1] * 4), img_size=64,
                       window_size=2)])
def test_features_in_order_and_no_random_number_drawn(folder, build):
    from mmpretrain.models import SelfSupDataPreprocessor
    backbone, preprocessor = build(), SelfSupDataPreprocessor(mean=[127.] * 3, std=[50.] * 3)
    backbone.train()
    images = LabelledImages(str(folder / 'train'), 64)
    state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    features, labels = extract_features(backbone, preprocessor, images, batch_size=3)
    assert torch.equal(extract_features(backbone, preprocessor, images, 3, num_workers=2)[0],
                       features)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert backbone.training and labels.tolist() == [0] * 4 + [1] * 4
    backbone.eval()
    with torch.no_grad():
        inputs = preprocessor(dict(inputs=images[5]['inputs'][None], data_samples=None))['inputs']
        alone = pool_features(backbone(inputs), backbone.num_extra_tokens)[0]
    torch.testing.assert_close(features[5], alone, rtol=1e-4, atol=1e-5)
