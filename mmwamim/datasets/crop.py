"""Crops that are fast enough to feed a GPU, resized by torch: of any number of channels."""
import math
import random
from numbers import Integral
from typing import List, Sequence, Tuple, Union

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmengine.utils import to_2tuple
from mmpretrain.structures import DataSample

from mmwamim.registry import TRANSFORMS

Size = Union[int, Sequence[int]]  # a side, or height and width


def resize(image: np.ndarray, size: Tuple[int, int], interpolation: str) -> torch.Tensor:
    """Antialiased where it shrinks; for uint8 Pillow's values to within rounding.

    Args:
        image: (H, W, C), uint8 or float32.
        size: Height and width of the result.
        interpolation: 'bicubic' or 'bilinear'.

    Returns:
        (C, *size), of the same type.
    """
    # (h, w, C) -> (1, C, h, w), a view: torch's kernel reads pixels with interleaved colours.
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return F.interpolate(pixels, size=size, mode=interpolation, antialias=True,
                         align_corners=False)[0]


def to_array(pixels: torch.Tensor) -> np.ndarray:
    """(C, H, W) -> (H, W, C)."""
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


@TRANSFORMS.register_module()
class RandomCropToTensor(BaseTransform):
    """``img`` -> ``inputs``, uint8 (3, *size), and ``data_samples`` with the image's path.

    A random part of the image is resized and perhaps flipped: mmpretrain's ``RandomResizedCrop``,
    ``RandomFlip`` and ``PackInputs``, with the same distributions, without a copy between them.
    Resizing is torch's for uint8, antialiased where the crop shrinks, which gives Pillow's values
    to within rounding.

    Args:
        size: Side of the result in pixels, or height and width.
        scale: Least and most area of the crop, as a share of the image's.
        ratio: Least and most width by height of the crop.
        flip: Probability of a horizontal flip.
        interpolation: 'bicubic' or 'bilinear'.

    Raises:
        ValueError: A field has no such value.

    Examples:
        >>> image = dict(img=np.zeros((40, 60, 3), np.uint8), img_path='cat.jpg')
        >>> RandomCropToTensor(size=32)(image)['inputs'].shape
        torch.Size([3, 32, 32])
    """

    def __init__(self,
                 size: Size,
                 scale: Sequence[float] = (0.2, 1.),
                 ratio: Sequence[float] = (3 / 4, 4 / 3),
                 flip: float = 0.5,
                 interpolation: str = 'bicubic') -> None:
        _check_size('size', size)
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f'scale must be two rising shares of the area, not {tuple(scale)}')
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f'ratio must be two rising positive numbers, not {tuple(ratio)}')
        if not 0 <= flip <= 1:
            raise ValueError(f'flip must be a probability, not {flip}')
        if interpolation not in ('bicubic', 'bilinear'):
            raise ValueError(f"interpolation must be 'bicubic' or 'bilinear', not "
                             f'{interpolation!r}')
        self.size = size
        self.phases: List[Tuple[int, Size]] = []
        self.epoch = None
        self.scale = tuple(scale)
        self.log_ratio = tuple(math.log(value) for value in ratio)
        self.flip = flip
        self.interpolation = interpolation

    def follow(self, phases: Sequence[Tuple[int, Size]]) -> None:
        """Makes results of a size that follows the epoch.

        Args:
            phases: First epoch (from 0) and size in pixels, by rising epochs. An image of which
                the epoch is not known has the usual one.
        """
        self.phases = list(phases)

    def set_epoch(self, epoch: int) -> None:
        """Whose images come next; data sets call it in the worker that reads them."""
        self.epoch = epoch

    def size_now(self) -> Size:
        """The size of results in the epoch that was set."""
        begun = [size for first, size in self.phases
                 if self.epoch is not None and first <= self.epoch]
        return begun[-1] if begun else self.size

    def draw_crop(self, height: int, width: int) -> Tuple[int, int, int, int]:
        """Draws top, left, height and width of the part to keep.

        After ten draws that do not fit, the largest central part of an allowed shape is taken.
        """
        for _ in range(10):
            area = random.uniform(*self.scale) * height * width
            ratio = math.exp(random.uniform(*self.log_ratio))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return random.randint(0, height - h), random.randint(0, width - w), h, w
        low, high = (math.exp(value) for value in self.log_ratio)
        w = min(width, round(height * high))
        h = min(height, round(width / low))
        return (height - h) // 2, (width - w) // 2, h, w

    def crop(self, image: np.ndarray) -> torch.Tensor:
        """(H, W, C) -> (C, *size), of the same type."""
        top, left, height, width = self.draw_crop(*image.shape[:2])
        part = image[top:top + height, left:left + width]
        pixels = resize(part, to_2tuple(self.size_now()), self.interpolation)
        return pixels.flip(2) if random.random() < self.flip else pixels

    def transform(self, results: dict) -> dict:
        pixels = self.crop(results['img'])
        sample = DataSample()
        sample.set_metainfo(dict(img_path=results.get('img_path')))
        return dict(inputs=pixels, data_samples=sample)


@TRANSFORMS.register_module()
class RandomResizedCrop(RandomCropToTensor):
    """``img`` -> ``img`` (*scale, C): mmpretrain's, with the same distributions, twice as
    fast.

    Args:
        scale: Side of the result in pixels, or height and width.
        crop_ratio_range: Least and most area of the crop, as a share of the image's.
        aspect_ratio_range: Least and most width by height of the crop.
        interpolation: 'bicubic' or 'bilinear'.

    Examples:
        >>> RandomResizedCrop(32)(dict(img=np.zeros((40, 60, 3), np.uint8)))['img'].shape
        (32, 32, 3)
    """

    def __init__(self, scale: Size, crop_ratio_range: Sequence[float] = (0.08, 1.),
                 aspect_ratio_range: Sequence[float] = (3 / 4, 4 / 3),
                 interpolation: str = 'bicubic') -> None:
        super().__init__(scale, crop_ratio_range, aspect_ratio_range, 0., interpolation)

    def transform(self, results: dict) -> dict:
        results['img'] = to_array(self.crop(results['img']))
        results['img_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class ResizeEdge(BaseTransform):
    """``img`` -> ``img`` (H, W, C): mmpretrain's for the short or long side, for any number of
    channels, and for oblong sizes; a picture that has the size already is left alone.

    Args:
        scale: The side in pixels; or height and width, which the picture just covers with the short
            edge, and just fits into with the long one. Its aspect ratio stays.
        edge: 'short' or 'long'.
        interpolation: 'bicubic' or 'bilinear'.
        backend: 'torch', or 'pillow' for its values to the last digit: for uint8 colours alone.

    Raises:
        ValueError: A field has no such value.

    Examples:
        >>> ResizeEdge(20)(dict(img=np.zeros((40, 60, 3), np.uint8)))['img'].shape
        (20, 30, 3)
        >>> ResizeEdge((20, 40))(dict(img=np.zeros((40, 60, 3), np.uint8)))['img'].shape
        (26, 40, 3)
    """

    def __init__(self, scale: Size, edge: str = 'short', interpolation: str = 'bicubic',
                 backend: str = 'torch') -> None:
        for name, value, known in (('edge', edge, ('short', 'long')),
                                   ('backend', backend, ('torch', 'pillow'))):
            if value not in known:
                raise ValueError(f'{name} must be {known[0]!r} or {known[1]!r}, not {value!r}')
        _check_size('scale', scale)
        self.scale, self.edge = to_2tuple(scale), edge
        self.interpolation, self.backend = interpolation, backend

    def transform(self, results: dict) -> dict:
        image = results['img']
        height, width = image.shape[:2]
        rows, columns = self.scale
        if (width * rows < height * columns) == (self.edge == 'short'):
            size = max(int(columns * height / width), 1), columns
        else:
            size = rows, max(int(rows * width / height), 1)
        if size != (height, width):
            results['img'] = self._resize(image, size)
        results['img_shape'] = results['img'].shape[:2]
        return results

    def _resize(self, image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
        if self.backend == 'pillow':
            return mmcv.imresize(image, size[::-1], interpolation=self.interpolation,
                                 backend='pillow')
        return to_array(resize(image, size, self.interpolation))


def _check_size(name: str, size: Size) -> None:
    sides = [size] if isinstance(size, Integral) else size
    if not (isinstance(sides, Sequence) and len(sides) in (1, 2)
            and all(isinstance(side, Integral) and side >= 1 for side in sides)):
        raise ValueError(f'{name} must be at least 1, or a height and a width that are, not '
                         f'{size!r}')
