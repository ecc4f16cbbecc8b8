"""Pictures of any number of channels: TIFF of many pages or channels, NumPy files, grey, RGBA."""
import warnings
from io import BytesIO
from pathlib import Path
from typing import Optional, Sequence, Union

import numpy as np
import tifffile
from mmcv.transforms import BaseTransform
from PIL import Image

from mmwamim.registry import TRANSFORMS

from .loading import MAX_PIXELS, UnreadableImage
from .pixels import (
    ORIENTATION,
    PHOTOMETRIC,
    WHITE_IS_ZERO,
    File,
    Refused,
    check_range,
    is_tiff,
    opened,
    orientation,
    scale,
    turn,
)

NUMPY = b'\x93NUMPY'


def read_channels(path: Union[str, Path], channels: int,
                  value_range: Optional[Sequence[float]] = None, data: Optional[bytes] = None,
                  max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a picture of a known number of channels, upright, in the order of the file.

    - NumPy files (``.npy``): (H, W), (H, W, C) or (C, H, W).
    - TIFF: channels of a page, pages of one channel each, or pages that are frames of a stack.
    - All else as Pillow reads it: ``L`` has one channel, ``RGB`` three, ``RGBA`` four.

    Args:
        path: The file, for messages where there is ``data``.
        channels: How many there must be.
        value_range: What becomes 0 and 255 in data deeper than 8 bits. None: numbers as they are.
        data: What is in the file.
        max_pixels: Larger pictures are refused.

    Returns:
        (H, W, channels): uint8 if the file has 8 bits, or with ``value_range``; float32 otherwise.

    Raises:
        UnreadableImage: Names the file and the reason; another number of channels is one.
    """
    value_range = check_range(value_range)
    try:
        values = _read(path if data is None else data)
        return as_channels(values, channels, value_range, max_pixels)
    except Refused as error:
        raise UnreadableImage(f'{path}: {error}') from error
    except Exception as error:  # decoders raise whatever they like
        raise UnreadableImage(f'{path}: {type(error).__name__}: {error}') from error


def as_channels(values: np.ndarray, channels: int, value_range: Optional[Sequence[float]] = None,
                max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The numbers of a picture, (H, W), (H, W, C) or (C, H, W), as of :func:`read_channels`.

    Raises:
        Refused: They are of another number of channels, or none, too many or no finite numbers.
    """
    values = _channels_last(values, channels)
    if not values.size:
        raise Refused(f'{values.shape[1]}x{values.shape[0]} pixels')
    if values.shape[0] * values.shape[1] > max_pixels:
        raise Refused(f'{values.shape[1]}x{values.shape[0]} pixels are more than {max_pixels}')
    if values.dtype != np.uint8 and value_range is not None:
        values = scale(values, value_range)
    elif values.dtype != np.uint8:
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise Refused('some values are no finite numbers')
    return np.ascontiguousarray(values)


def _read(file: File) -> np.ndarray:
    start = file[:6] if isinstance(file, bytes) else _start(file)
    if start == NUMPY:
        return np.load(BytesIO(file) if isinstance(file, bytes) else file, allow_pickle=False)
    if is_tiff(file):
        return _read_tiff(file)
    with warnings.catch_warnings(), Image.open(opened(file)) as image:
        warnings.simplefilter('ignore')
        number = orientation(image)
        if image.mode in ('P', '1'):
            image = image.convert('RGBA' if 'transparency' in image.info else
                                  'RGB' if image.mode == 'P' else 'L')
        return turn(np.asarray(image), number)


def _start(path: Union[str, Path]) -> bytes:
    with open(path, 'rb') as file:
        return file.read(6)


def _read_tiff(file: File) -> np.ndarray:
    """(H, W), or (H, W, C) with channels of the page last; pages of a stack are channels."""
    with tifffile.TiffFile(opened(file)) as tiff:
        stacks = [series.asarray() for series in tiff.series
                  if series.shape == tiff.series[0].shape]
        axes, page = tiff.series[0].axes, tiff.pages[0]
    values = stacks[0] if len(stacks) == 1 else np.stack(stacks)
    axes = axes if len(stacks) == 1 else f'Q{axes}'
    rows, columns = axes.index('Y'), axes.index('X')
    values = np.moveaxis(values, (rows, columns), (0, 1))
    values = values.reshape(*values.shape[:2], -1)
    if page.tags.get(PHOTOMETRIC) and page.photometric == WHITE_IS_ZERO \
            and values.dtype.kind == 'u':
        values = np.iinfo(values.dtype).max - values
    number = page.tags[ORIENTATION].value if ORIENTATION in page.tags else 1
    return turn(values, number) if 1 < number <= 8 else values


def _channels_last(values: np.ndarray, channels: int) -> np.ndarray:
    if values.dtype.kind not in 'uif':
        raise Refused(f'numbers of type {values.dtype}')
    shape = values.shape
    if values.ndim == 2:
        values = values[..., None]
    elif values.ndim == 3 and shape[-1] != channels and shape[0] == channels:
        values = np.moveaxis(values, 0, -1)
    if values.ndim != 3 or values.shape[-1] != channels:
        found = f'{shape[-1]} channels' if len(shape) == 3 and shape[-1] <= shape[0] else \
            '1 channel' if len(shape) == 2 else f'the shape {shape}'
        raise Refused(f'{found}, not {channels} channels')
    return values


@TRANSFORMS.register_module()
class LoadChannels(BaseTransform):
    """``img_path``, or ``img_bytes`` of that name, -> ``img`` (H, W, channels) in the order of the
    file, with ``img_shape`` and ``ori_shape``.

    Args:
        channels: As of :func:`read_channels`.
        value_range: See ``channels``.
        max_pixels: See ``channels``.

    Raises:
        UnreadableImage: As :func:`read_channels`.

    Examples:
        >>> image = LoadChannels(channels=4)(dict(img_path='field.npy'))['img']  # doctest: +SKIP
        >>> image.shape, image.dtype  # doctest: +SKIP
        ((40, 40, 4), dtype('float32'))
    """

    def __init__(self, channels: int, value_range: Optional[Sequence[float]] = None,
                 max_pixels: int = MAX_PIXELS) -> None:
        if channels < 1:
            raise ValueError(f'channels must be at least 1, not {channels}')
        self.channels, self.max_pixels = channels, max_pixels
        self.value_range = check_range(value_range)

    def transform(self, results: dict) -> dict:
        image = read_channels(results['img_path'], self.channels, self.value_range,
                              results.pop('img_bytes', None), self.max_pixels)
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results
