"""Reads any picture as 8-bit RGB, or says that it cannot be read."""
import warnings
from pathlib import Path
from typing import Optional, Union

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageOps

try:
    import simplejpeg
except ImportError:  # Pillow reads everything, a plain JPEG about a third slower
    simplejpeg = None

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
    pixels = _read_plain_jpeg(path, max_pixels, 'RGB')
    if pixels is not None:
        return pixels
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


def _read_plain_jpeg(path: Union[str, Path], max_pixels: int,
                     order: str) -> Optional[np.ndarray]:
    """The pixels of an ordinary JPEG in the order 'RGB' or 'BGR'.

    None for anything else, which is Pillow's to read or to refuse: other formats, EXIF data (it
    may turn the picture), CMYK, damaged or enormous files.

    Both decoders are libjpeg-turbo, so the values are the same.
    """
    if simplejpeg is None:
        return None
    try:
        with open(path, 'rb', buffering=0) as file:
            data = file.read()
        if _has_exif(data):
            return None
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in ('YCbCr', 'RGB', 'Gray') or height * width > max_pixels:
            return None
        return simplejpeg.decode_jpeg(data, order)
    except (OSError, ValueError, IndexError):
        return None


def _has_exif(data: bytes) -> bool:
    """Whether the head of a JPEG file holds EXIF data; True for what is no JPEG."""
    if data[:2] != b'\xff\xd8':
        return True
    place = 2
    while data[place:place + 1] == b'\xff' and data[place + 1] != 0xda:  # until the scan starts
        if data[place + 1] == 0xe1 and data[place + 4:place + 8] == b'Exif':
            return True
        place += 2 + int.from_bytes(data[place + 2:place + 4], 'big')
    return False


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
        path = results['img_path']
        image = _read_plain_jpeg(path, self.max_pixels, 'BGR')
        if image is None:
            image = np.ascontiguousarray(read_rgb(path, self.max_pixels)[..., ::-1])
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results
