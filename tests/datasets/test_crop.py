import random

import numpy as np
import pytest
import torch
from PIL import Image

from mmwamim.datasets import RandomCropToTensor, RandomResizedCrop, ResizeEdge
from mmwamim.datasets.sampling import seed_everything


def picture(height=120, width=160, seed=0):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (15, 20, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.BICUBIC))


@pytest.mark.parametrize('size', [32, 64, 200])  # shrinks much, shrinks, enlarges
@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
def test_equals_pillow_on_the_same_crop(size, interpolation):
    image = picture()
    crop = RandomCropToTensor(size, flip=0., interpolation=interpolation)
    method = getattr(Image, interpolation.upper())
    for seed in range(5):
        random.seed(seed)
        top, left, height, width = crop.draw_crop(120, 160)
        random.seed(seed)
        ours = crop.transform(dict(img=image, img_path='x.jpg'))['inputs']
        part = Image.fromarray(image[top:top + height, left:left + width])
        theirs = np.asarray(part.resize((size, size), method)).transpose(2, 0, 1)
        assert ours.dtype == torch.uint8 and ours.shape == (3, size, size)
        difference = abs(ours.numpy().astype(int) - theirs)
        assert difference.max() <= 2 and difference.mean() < 0.2  # rounded after each axis


def test_shrinking_is_antialiased():
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    ours = RandomCropToTensor(32, (1., 1.), (1., 1.), flip=0.).transform(dict(img=stripes))
    assert abs(ours['inputs'].float() - 127.5).max() < 20  # grey, not stripes or black


def test_flips_with_its_probability():
    image = picture(32, 32)
    plain = RandomCropToTensor(32, (1., 1.), (1., 1.), flip=0.).transform(dict(img=image))
    flips = []
    random.seed(0)
    crop = RandomCropToTensor(32, (1., 1.), (1., 1.), flip=0.25)
    for _ in range(400):
        ours = crop.transform(dict(img=image))['inputs']
        flips.append(torch.equal(ours, plain['inputs'].flip(2)))
        assert flips[-1] or torch.equal(ours, plain['inputs'])
    assert 0.18 < np.mean(flips) < 0.32


def test_crops_are_distributed_as_torchvisions():
    """Area, shape and place against the recipe that everybody cites."""
    from torchvision.transforms import RandomResizedCrop
    crop = RandomCropToTensor(8, (0.2, 1.))
    random.seed(0)
    torch.manual_seed(0)
    ours = np.array([crop.draw_crop(120, 160) for _ in range(4000)], float)
    image = torch.zeros(3, 120, 160)
    theirs = np.array([RandomResizedCrop.get_params(image, [0.2, 1.], [3 / 4, 4 / 3])
                       for _ in range(4000)], float)
    for found in (ours, theirs):
        found[:, 2:] = np.stack([found[:, 2] * found[:, 3] / (120 * 160),
                                 np.log(found[:, 3] / found[:, 2])], 1)
    scale = np.array([120, 160, 1, 1])
    np.testing.assert_allclose(ours.mean(0) / scale, theirs.mean(0) / scale, atol=0.02)
    np.testing.assert_allclose(ours.std(0) / scale, theirs.std(0) / scale, atol=0.02)


@pytest.mark.parametrize('size', [(10, 400), (400, 10), (1, 1)])
def test_extreme_shapes_fall_back_to_the_middle(size):
    top, left, height, width = RandomCropToTensor(8, (1., 1.)).draw_crop(*size)
    assert 0 <= top <= size[0] - height and 0 <= left <= size[1] - width
    if size != (1, 1):
        assert max(height, width) / min(height, width) <= 4 / 3 + 0.1
        assert abs(2 * top + height - size[0]) <= 1 and abs(2 * left + width - size[1]) <= 1


def test_draws_follow_the_seed_and_the_path_is_kept():
    crop = RandomCropToTensor(16)
    results = []
    for parts in ((0, 1, 2), (0, 1, 2), (0, 1, 3)):
        seed_everything(*parts)
        results.append(crop.transform(dict(img=picture(), img_path='a/b.jpg')))
    assert torch.equal(results[0]['inputs'], results[1]['inputs'])
    assert not torch.equal(results[0]['inputs'], results[2]['inputs'])
    assert results[0]['data_samples'].img_path == 'a/b.jpg'


@pytest.mark.parametrize('fields, message', [
    (dict(size=0), 'size'), (dict(size=(8, 0)), 'size'), (dict(size=(8, 8, 8)), 'size'),
    (dict(size='8'), "size .* not '8'"), (dict(scale=(0.5, 0.2)), 'scale'),
    (dict(scale=(0, 1)), 'scale'),
    (dict(ratio=(2, 1)), 'ratio'), (dict(flip=2), 'flip'),
    (dict(interpolation='nearest'), "interpolation must be .* not 'nearest'")])
def test_bad_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        RandomCropToTensor(**{'size': 8, **fields})


@pytest.mark.parametrize('edge', ['short', 'long'])
@pytest.mark.parametrize('size', [(40, 61), (61, 40), (50, 50)])
def test_an_edge_is_resized_as_by_mmpretrain(size, edge):
    from mmpretrain.datasets.transforms import ResizeEdge as Theirs
    rng = np.random.default_rng(0)
    image = np.asarray(Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(
        size[::-1], Image.BICUBIC))
    ours = ResizeEdge(32, edge).transform(dict(img=image))
    theirs = Theirs(32, edge, backend='pillow', interpolation='bicubic').transform(
        dict(img=image))
    assert ours['img'].shape == theirs['img'].shape and ours['img_shape'] == theirs['img_shape']
    assert np.abs(ours['img'].astype(int) - theirs['img'].astype(int)).max() <= 1
    fits = ResizeEdge(min(size)).transform(dict(img=image))
    assert fits['img'] is image and fits['img_shape'] == size


@pytest.mark.parametrize('size', [(40, 61), (90, 30), (61, 40), (20, 9)])
@pytest.mark.parametrize('target', [(24, 32), (32, 24), (16, 64)])
def test_an_oblong_size_is_covered_as_by_timm_and_fitted_into(size, target):
    from timm.data.transforms import ResizeKeepRatio
    image = picture(*size)
    for backend in ('torch', 'pillow'):
        ours = ResizeEdge(target, backend=backend).transform(dict(img=image))['img']
        theirs = np.asarray(ResizeKeepRatio(target, interpolation='bicubic')(
            Image.fromarray(image)))
        height, width = ours.shape[:2]
        assert height >= target[0] and width >= target[1] and target in (
            (height, target[1]), (target[0], width))
        assert np.abs(np.subtract(ours.shape, theirs.shape)).max() <= 1  # they round, we cut
        if ours.shape == theirs.shape:
            difference = np.abs(ours.astype(int) - theirs).max()
            assert difference == 0 if backend == 'pillow' else difference <= 2
    inside = ResizeEdge(target, 'long').transform(dict(img=image))['img_shape']
    assert inside[0] <= target[0] and inside[1] <= target[1] and (
        inside[0] == target[0] or inside[1] == target[1])


def test_random_crops_of_an_oblong_size_equal_pillow():
    image = picture()
    random.seed(0)
    top, left, height, width = RandomCropToTensor((24, 40)).draw_crop(120, 160)
    part = Image.fromarray(image[top:top + height, left:left + width])
    expected = np.asarray(part.resize((40, 24), Image.BICUBIC)).astype(int)
    for crop in (RandomCropToTensor((24, 40), flip=0.), RandomResizedCrop((24, 40), (0.2, 1.))):
        random.seed(0)
        found = crop.transform(dict(img=image))
        found = found['inputs'].permute(1, 2, 0).numpy() if 'inputs' in found else found['img']
        assert np.abs(found - expected).max() <= 2


@pytest.mark.parametrize('channels, kind', [(1, np.uint8), (4, np.float32), (12, np.uint8),
                                            (12, np.float32)])
def test_crops_of_any_number_of_channels_are_those_of_each_channel(channels, kind):
    image = (np.random.default_rng(0).random((30, 41, channels)) * 255).astype(kind)
    for transform in (RandomResizedCrop(16), RandomCropToTensor(16)):
        found = []
        for one in (image, *(image[..., i:i + 1] for i in range(channels))):
            seed_everything(3)
            results = transform.transform(dict(img=np.ascontiguousarray(one), img_path='x'))
            found.append(results['inputs'].permute(1, 2, 0).numpy() if 'inputs' in results
                         else results['img'])
        assert found[0].dtype == kind and found[0].shape == (16, 16, channels)
        apart = np.concatenate(found[1:], axis=2).astype(float)
        assert np.abs(found[0] - apart).max() <= (1 if kind is np.uint8 else 1e-3)
