"""Random resized crop, flip and packing in one step, fast enough to feed a GPU."""
import math
import random
from typing import List, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmpretrain.structures import DataSample

from mmwamim.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomCropToTensor(BaseTransform):
    """``img`` -> ``inputs``, uint8 (3, size, size), and ``data_samples`` with the image's path.

    A random part of the image is resized and perhaps flipped: mmpretrain's ``RandomResizedCrop``,
    ``RandomFlip`` and ``PackInputs``, with the same distributions, without a copy between them.
    Resizing is torch's for uint8, antialiased where the crop shrinks, which gives Pillow's values
    to within rounding.

    Args:
        size: Side of the result in pixels.
        scale: Least and most area of the crop, as a share of the image's.
        ratio: Least and most width by height of the crop.
        flip: Probability of a horizontal flip.
        interpolation: 'bicubic' or 'bilinear'.

    Raises:
        ValueError: A field has no such value.
    """

    def __init__(self,
                 size: int,
                 scale: Sequence[float] = (0.2, 1.),
                 ratio: Sequence[float] = (3 / 4, 4 / 3),
                 flip: float = 0.5,
                 interpolation: str = 'bicubic') -> None:
        if size < 1:
            raise ValueError(f'size must be at least 1, not {size}')
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
        self.phases: List[Tuple[int, int]] = []
        self.epoch = None
        self.scale = tuple(scale)
        self.log_ratio = tuple(math.log(value) for value in ratio)
        self.flip = flip
        self.interpolation = interpolation

    def follow(self, phases: Sequence[Tuple[int, int]]) -> None:
        """Makes results of a size that follows the epoch.

        Args:
            phases: First epoch (from 0) and side in pixels, by rising epochs. An image of which
                the epoch is not known has the usual size.
        """
        self.phases = list(phases)

    def set_epoch(self, epoch: int) -> None:
        """Whose images come next; data sets call it in the worker that reads them."""
        self.epoch = epoch

    def size_now(self) -> int:
        """The side of results in the epoch that was set."""
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

    def transform(self, results: dict) -> dict:
        image = results['img']
        top, left, height, width = self.draw_crop(*image.shape[:2])
        # (h, w, 3) -> (1, 3, h, w), a view: torch's kernel reads pixels with interleaved colours.
        crop = torch.from_numpy(image[top:top + height, left:left + width]).permute(2, 0, 1)[None]
        pixels = F.interpolate(crop, size=(self.size_now(), ) * 2, mode=self.interpolation,
                               antialias=True, align_corners=False)[0]
        if random.random() < self.flip:
            pixels = pixels.flip(2)
        sample = DataSample()
        sample.set_metainfo(dict(img_path=results.get('img_path')))
        return dict(inputs=pixels, data_samples=sample)
