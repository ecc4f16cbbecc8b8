"""Fast augmentations against mmcv's and mmpretrain's own."""
import mmcv
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS

from mmwamim.datasets import augment
from mmwamim.datasets.sampling import seed_everything

RAND_AUGMENT = dict(policies='timm_increasing', num_policies=2, total_level=10, magnitude_level=9,
                    magnitude_std=0.5, hparams=dict(pad_val=[104, 116, 124],
                                                    interpolation='bicubic'))


def images():
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    yield rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    yield rng.integers(90, 130, (40, 50, 3), dtype=np.uint8)
    yield np.stack([smooth, smooth // 2, np.full_like(smooth, 7)], axis=-1)
    yield (rng.random((9, 5, 3)) > 0.9).astype(np.uint8) * 255
    yield np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize('image', images())
def test_the_tables_give_mmcvs_values(image):
    for ours, theirs in ((augment.AutoContrast, mmcv.auto_contrast),
                         (augment.Equalize, mmcv.imequalize)):
        found = ours(prob=1.).transform(dict(img=image.copy()))['img']
        assert np.array_equal(found, theirs(image.copy()).astype(np.uint8))


def test_the_same_draws_and_values_as_mmpretrains():
    init_default_scope('mmpretrain')
    ours, theirs = augment.RandAugment(**RAND_AUGMENT), TRANSFORMS.build(
        dict(RAND_AUGMENT, type='RandAugment'))
    assert sum(type(one).__module__ == augment.__name__ for one in ours.transforms) == 7
    image = next(images())
    for seed in range(150):
        found = []
        for transform in (ours, theirs):
            seed_everything(seed)
            found.append(transform(dict(img=image.copy(), img_shape=image.shape[:2]))['img'])
        assert np.array_equal(*found), seed
