"""Reads any picture as 8-bit RGB, or says that it cannot be read: the one reader of all tasks."""
import warnings
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, UnidentifiedImageError

try:
    import simplejpeg
except ImportError:  # Pillow reads everything, a plain JPEG about a third slower
    simplejpeg = None

from mmwamim.errors import UserError
from mmwamim.registry import TRANSFORMS

from .pixels import (
    TURNS_BACK,
    File,
    Refused,
    check_range,
    is_tiff,
    opened,
    orientation,
    read_deep,
    to_rgb,
    turn,
)

MAX_PIXELS = 100_000_000
HEIC = (b'heic', b'heix', b'hevc', b'heim', b'heis', b'mif1', b'msf1')  # brands of the container


class UnreadableImage(UserError):
    """A file that is no picture, a damaged or an enormous one, or one of unknown range."""


def read_rgb(path: Union[str, Path], max_pixels: int = MAX_PIXELS,
             value_range: Optional[Sequence[float]] = None,
             data: Optional[bytes] = None) -> np.ndarray:
    """Reads a picture of any mode, upright.

    Rotation in EXIF is applied, transparency is dropped, palettes, LAB and CMYK are converted;
    :mod:`mmwamim.datasets.pixels` has the rules for data deeper than 8 bits. Of several pages or
    frames (TIFF, GIF, WebP, APNG) the first counts that is not of one colour, or the first of all
    if there is none.

    Args:
        path: A file that Pillow can read.
        max_pixels: Larger pictures are refused before they are decoded.
        value_range: The values that become 0 and 255 in data deeper than 8 bits. None: the full
            range of the stored depth, where that can be known.
        data: What is in the file, where the path is but its name.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        UnreadableImage: Names the file and the reason.
        ValueError: ``value_range`` is no range.
    """
    value_range, file = check_range(value_range), path if data is None else data
    pixels = _read_plain_jpeg(file, max_pixels, 'RGB')
    if pixels is not None:
        return pixels
    try:
        with warnings.catch_warnings(), Image.open(opened(file)) as image:
            warnings.simplefilter('ignore')  # Pillow's own, lower limit; ours is checked below
            _select_page(image, max_pixels)
            return to_rgb(image, value_range, file)
    except UnidentifiedImageError as error:
        if not is_tiff(file):
            raise UnreadableImage(f'{path} is no picture that Pillow knows{_what_else(file)}'
                                  ) from error
        try:
            return read_deep(file, value_range)
        except Exception as second:
            raise UnreadableImage(f'{path}: {second}') from second
    except Refused as error:
        raise UnreadableImage(f'{path}: {error}') from error
    except Exception as error:  # decoders raise whatever they like
        raise UnreadableImage(f'{path}: {type(error).__name__}: {error}') from error


def _what_else(file: File) -> str:
    """What often has the name of a picture, in words."""
    if isinstance(file, bytes):
        start = file[:64]
    else:
        with open(file, 'rb') as stream:
            start = stream.read(64)
    if not start:
        return ': it is empty'
    if start.startswith(b'version https://git-lfs'):
        return ': it is a pointer of Git LFS, whose file was not fetched (git lfs pull)'
    if start[4:8] == b'ftyp' and start[8:12] in HEIC:
        return ': it is HEIC, to be converted first, say to JPEG'
    if start.lstrip()[:1] == b'<':
        return ': it is a web page or drawing in text'
    return ''


def _select_page(image: Image.Image, max_pixels: int) -> None:
    """Goes to the page or frame that counts."""
    _check_size(image, max_pixels)
    if not getattr(image, 'is_animated', False):
        return
    for page in range(image.n_frames):
        image.seek(page)
        _check_size(image, max_pixels)
        channels = image.getextrema()
        channels = channels if isinstance(channels[0], tuple) else (channels, )
        if any(low < high for band, (low, high) in zip(image.getbands(), channels)
               if band not in 'Aa'):  # not by transparency alone
            return
    image.seek(0)


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise Refused(f'{image.width}x{image.height} pixels are more than {max_pixels}')


def _read_plain_jpeg(data: File, max_pixels: int, order: str) -> Optional[np.ndarray]:
    """The pixels of an ordinary JPEG in the order 'RGB' or 'BGR'.

    None for anything else, which is Pillow's to read or to refuse: other formats, EXIF data (it
    may turn the picture), CMYK, damaged or enormous files.

    Both decoders are libjpeg-turbo, so the values are the same.
    """
    if simplejpeg is None:
        return None
    try:
        if not isinstance(data, bytes):
            with open(data, 'rb', buffering=0) as file:
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
    """Whether the head of a JPEG file may say that the picture is to be turned, in EXIF or XMP;
    True for what is no JPEG."""
    if data[:2] != b'\xff\xd8':
        return True
    place = 2
    while data[place:place + 1] == b'\xff' and data[place + 1] != 0xda:  # until the scan starts
        if data[place + 1] == 0xff:  # a fill byte
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2:place + 4], 'big')
        if data[place + 1] == 0xe1 and (data[place + 4:place + 8] == b'Exif'
                                        or b'tiff:Orientation' in data[place:end]):
            return True
        place = end
    return False


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """``img_path``, or ``img_bytes`` of that name, -> ``img``, uint8 (H, W, 3) in mmcv's order
    BGR, with ``img_shape`` and ``ori_shape``.

    Where an annotation states the size of its picture (``height`` and ``width``, as mmdet's data
    sets hand them on, or the label map at ``seg_map_path``), the picture has that size: one that
    EXIF turns by a quarter is left as it is stored if that is what was annotated. Where the sizes
    do not tell (equal sides, half turns, mirrored), the annotation is of the upright picture.

    Args:
        max_pixels: As in :func:`read_rgb`.
        value_range: As in :func:`read_rgb`.

    Raises:
        UnreadableImage: As :func:`read_rgb`.
        UserError: The annotation's size is neither that of the upright picture nor of the stored.

    Examples:
        >>> image = LoadImage()(dict(img_path='cat.jpg'))['img']  # doctest: +SKIP
        >>> image.shape, image.dtype  # doctest: +SKIP
        ((40, 40, 3), dtype('uint8'))
    """

    def __init__(self, max_pixels: int = MAX_PIXELS,
                 value_range: Optional[Sequence[float]] = None) -> None:
        self.max_pixels = max_pixels
        self.value_range = check_range(value_range)

    def transform(self, results: dict) -> dict:
        path, data = results['img_path'], results.pop('img_bytes', None)
        image = _read_plain_jpeg(path if data is None else data, self.max_pixels, 'BGR')
        if image is None:
            image = read_rgb(path, self.max_pixels, self.value_range, data)
            image = np.ascontiguousarray(image[..., ::-1])
        size = _annotated_size(results)
        if size is not None:
            image = turn_to_size(path, image, size)
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results


def _annotated_size(results: dict) -> Optional[Tuple[int, int]]:
    """(H, W) of the picture that boxes or a label map are of, where they say so."""
    if results.get('height') and results.get('width'):
        return results['height'], results['width']
    if results.get('seg_map_path'):
        try:
            with Image.open(results['seg_map_path']) as labels:  # reads the header alone
                return labels.height, labels.width
        except OSError:
            return None  # whoever reads the labels will tell
    return None


def turn_to_size(path: Union[str, Path], image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """An upright picture (H, W, ...) as its annotation sees it, by the annotation's (H, W).

    Raises:
        UserError: The size is neither that of the upright picture nor that of the stored one.
    """
    if image.shape[:2] == tuple(size):
        return image
    with Image.open(path) as file:
        number = orientation(file)
    stored = turn(image, TURNS_BACK[number])
    if stored.shape[:2] != tuple(size):
        raise UserError(f'{path} is {image.shape[1]}x{image.shape[0]} pixels, but its annotation '
                        f'is of {size[1]}x{size[0]}: boxes and masks would lie elsewhere')
    return stored
