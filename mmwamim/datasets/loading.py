"""Reads any picture as 8-bit RGB, or says that it cannot be read."""
import warnings
from pathlib import Path
from typing import Union

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageOps

from mmwamim.registry import TRANSFORMS

MAX_PIXELS = 100_000_000


class UnreadableImage(ValueError):
    """A file that is no picture, or a damaged or an enormous one."""


def read_rgb(path: Union[str, Path], max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a picture of any mode.

    Rotation in EXIF is applied, transparency is dropped, palettes and CMYK are converted, and
    16-bit grey keeps its upper 8 bits.

    Args:
        path: A file that Pillow can read.
        max_pixels: Larger pictures are refused before they are decoded.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        UnreadableImage: Names the file and the reason.
    """
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter('ignore')  # Pillow's own, lower limit; ours is checked below
            if image.width * image.height > max_pixels:
                raise UnreadableImage(f'{path}: {image.width}x{image.height} pixels are more than '
                                      f'{max_pixels}')
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith('I'):
                grey = np.asarray(image).astype(np.int64)
                grey = np.clip(grey >> 8 if grey.max() > 255 else grey, 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            if image.mode == 'P' and 'transparency' in image.info:
                image = image.convert('RGBA')
            return np.asarray(image.convert('RGB'))
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise whatever they like
        raise UnreadableImage(f'{path}: {type(error).__name__}: {error}') from error


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """``img_path`` -> ``img``, uint8 (H, W, 3) in mmcv's order BGR, with ``img_shape`` and
    ``ori_shape``.

    Args:
        max_pixels: As in :func:`read_rgb`.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels

    def transform(self, results: dict) -> dict:
        image = np.ascontiguousarray(read_rgb(results['img_path'], self.max_pixels)[..., ::-1])
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results
