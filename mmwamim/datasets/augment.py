"""mmpretrain's ``RandAugment``, with its slow steps as tables of 256 values."""
from typing import Any, Callable, List, Sequence

import cv2
import numpy as np
from mmpretrain.datasets import transforms as theirs

from mmwamim.registry import TRANSFORMS

IDENTITY = np.arange(256)
RAMP = np.repeat(IDENTITY.astype(np.uint8)[None, :, None], 3, axis=2)  # (1, 256, 3)
RAMP.flags.writeable = False
POINTWISE = ('Solarize', 'SolarizeAdd', 'Brightness', 'Posterize', 'Invert')


def histograms(image: np.ndarray) -> np.ndarray:
    """int64 (C, 256) of uint8 (H, W, C)."""
    return np.stack([cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel()
                     for channel in range(image.shape[2])]).astype(np.int64)


def apply_tables(image: np.ndarray, tables: Sequence[np.ndarray]) -> np.ndarray:
    """Each channel of uint8 (H, W, C) through a table of its own."""
    return cv2.LUT(image, np.stack(tables, axis=-1).astype(np.uint8)[None])


def contrast_table(histogram: np.ndarray) -> np.ndarray:
    """Spreads the values that occur over 0 to 255, as ``mmcv.auto_contrast`` does."""
    used = np.flatnonzero(histogram)
    low, high = used[0], used[-1]
    if low >= high:
        return IDENTITY
    factor = 255. / (high - low)
    return np.clip(IDENTITY * factor + -low * factor, 0, 255)


def equal_table(histogram: np.ndarray) -> np.ndarray:
    """As many pixels of each value as can be, as ``mmcv.imequalize`` does."""
    step = (histogram.sum() - histogram[np.flatnonzero(histogram)[-1]]) // 255
    if not step:
        return IDENTITY
    table = np.concatenate([[0], ((np.cumsum(histogram) + step // 2) // step)[:-1]])
    return np.minimum(table, 255)


@TRANSFORMS.register_module()
class AutoContrast(theirs.AutoContrast):
    """mmpretrain's, ten times as fast; its fields."""

    def transform(self, results: dict) -> dict:
        if not self.random_disable():
            image = results['img']
            results['img'] = apply_tables(image, list(map(contrast_table, histograms(image))))
        return results


@TRANSFORMS.register_module()
class Equalize(theirs.Equalize):
    """mmpretrain's, ten times as fast; its fields."""

    def transform(self, results: dict) -> dict:
        if not self.random_disable():
            image = results['img']
            results['img'] = apply_tables(image, list(map(equal_table, histograms(image))))
        return results


class Pointwise:
    """A step that maps each value by itself, done once for each of the 256 values.

    Args:
        step: mmpretrain's, which draws as it does without this.
    """

    def __init__(self, step: Callable) -> None:
        self.step = step

    def __call__(self, results: dict) -> dict:
        table = self.step(dict(results, img=RAMP))['img']
        results['img'] = results['img'] if table is RAMP else cv2.LUT(results['img'], table)
        return results

    def __repr__(self) -> str:
        return repr(self.step)


@TRANSFORMS.register_module()
class RandAugment(theirs.RandAugment):
    """mmpretrain's, with the same values and the same draws, for uint8 images.

    Args:
        *fields: As of mmpretrain's: policies, num_policies, magnitude_level and others.
        **named: See ``fields``.

    Examples:
        >>> augment = RandAugment('timm_increasing', num_policies=2, total_level=10,
        ...                       magnitude_level=9)
        >>> augment(dict(img=np.zeros((32, 32, 3), np.uint8)))['img'].shape
        (32, 32, 3)
    """

    def __init__(self, *fields: Any, **named: Any) -> None:
        super().__init__(*fields, **named)
        ours = dict(AutoContrast=AutoContrast, Equalize=Equalize)
        self.transforms: List = [
            ours[policy['type']](**{k: v for k, v in policy.items() if k != 'type'})
            if policy['type'] in ours else
            Pointwise(transform) if policy['type'] in POINTWISE else transform
            for policy, transform in zip(self.policies, self.transforms)]
