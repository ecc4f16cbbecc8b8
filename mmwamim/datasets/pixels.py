"""From what a file stores to 8-bit RGB, by one rule for each kind of data.

- 8 bits or fewer: as Pillow converts them. Transparency is dropped, the stored colours show. Colour
  profiles are not applied; CMYK in a JPEG is taken as inverted, as Adobe writes it.
- 16 bits without sign: the full range of the stored depth, so the upper 8 bits. Where the largest
  value leaves the upper four bits unused, the file may as well hold 12 bits in 16: it is refused.
- Signed, 32-bit and floating-point data say nothing about their range: refused.
- Where ``value_range`` is given, all data deeper than 8 bits go by it instead, and none is refused.
"""
from io import BytesIO
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import cv2
import numpy as np
import tifffile
from PIL import ExifTags, Image

from mmwamim.errors import UserError

Range = Optional[Tuple[float, float]]
File = Union[str, Path, bytes]  # a path, or what is in the file
DEEP_MODES = ('I', 'F')  # and those that begin with 'I;'
TWELVE_BITS, SIXTEEN_BITS = 4095, 65535
# Tags of TIFF, and values of them.
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION, PLANES, SAMPLE_FORMAT = 258, 262, 274, 284, 339
UNSIGNED, WHITE_IS_ZERO, ONE_AFTER_ANOTHER = 1, 0, 2
# EXIF's numbers, and what makes an array (H, W, ...) upright.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
TURNS_BACK = {**{number: number for number in TURNS}, 6: 8, 8: 6}


class Refused(ValueError):
    """A picture that is not taken; the message is the reason, without the file's name."""


def check_range(value_range: Optional[Sequence[float]]) -> Range:
    """``value_range`` as a pair of numbers, or None.

    Raises:
        UserError: It is no pair of rising finite numbers.
    """
    if value_range is None:
        return None
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = 0.
    if not (np.isfinite([low, high]).all() and low < high):
        raise UserError('value_range must be two rising numbers, what becomes black and what '
                        f'becomes white, such as (0, 4095), not {value_range!r}')
    return low, high


def scale(values: np.ndarray, value_range: Tuple[float, float]) -> np.ndarray:
    """Numbers to uint8: the range to 0 .. 255, rounded; what lies outside, or is no number, to
    the nearer end (NaN to 0)."""
    low, high = value_range
    scaled = (values.astype(np.float64) - low) / (high - low) * 255
    return np.rint(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)


def to_rgb(image: Image.Image, value_range: Range = None,
           file: Optional[File] = None) -> np.ndarray:
    """An opened image, upright, by the rules of this module.

    Args:
        image: As Pillow opens it, at the page that is wanted.
        value_range: What becomes 0 and 255 in data deeper than 8 bits.
        file: Its path or bytes. Default: the path that it was opened from.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        Refused: The range of its values cannot be known.
    """
    bits = _stored_bits(image)
    image.load()  # turns a TIFF upright by itself, and then says that it is
    source = file or getattr(image, 'filename', None)  # one that was made has no file
    return turn(_as_stored(image, bits, value_range, source), orientation(image))


def orientation(image: Image.Image) -> int:
    """EXIF's number of the turn that makes an image upright, 1 to 8; 1 where it cannot be read."""
    try:
        number = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data do not make the pixels unreadable
        return 1
    return number if number in TURNS else 1


def turn(pixels: np.ndarray, number: int) -> np.ndarray:
    """Turns an array (H, W, ...) by EXIF's number."""
    return np.ascontiguousarray(TURNS[number](pixels))


def _as_stored(image: Image.Image, bits: int, value_range: Range, file: File) -> np.ndarray:
    """uint8 (H, W, 3), not turned."""
    if image.mode in DEEP_MODES or image.mode.startswith('I;'):
        return _grey(_scale_grey(image, bits, value_range))
    tags = getattr(image, 'tag_v2', {})
    if bits == 16 and (value_range is not None or tags.get(PLANES) == ONE_AFTER_ANOTHER) or \
            tags.get(SAMPLE_FORMAT, (UNSIGNED, ))[0] != UNSIGNED:
        return read_deep(file, value_range, image.tell())
    if image.mode in ('RGBa', 'La'):  # colours multiplied by their opacity
        image = image.convert(image.mode.upper())
    if image.mode == 'P' and 'transparency' in image.info:
        image = image.convert('RGBA')
    pixels = np.asarray(image.convert('RGB'))
    if bits == 16:
        _refuse_unused_bits(int(pixels.max()) << 8)
    return pixels


def read_deep(file: File, value_range: Range = None, page: int = 0) -> np.ndarray:
    """Colours deeper than 8 bits and numbers that Pillow cuts to 8 bits, mistakes or does not read.

    Args:
        file: A path, or the bytes of a file.
        value_range: As of :func:`to_rgb`.
        page: Of a TIFF file.

    Returns:
        uint8 (H, W, 3), RGB; upright if it is a TIFF file, as stored otherwise.

    Raises:
        Refused: It cannot be read, or the range of its values cannot be known.
    """
    values = _read_tiff(file, page) if is_tiff(file) else _read_by_opencv(file)
    if values.dtype != np.uint8 and value_range is not None:
        values = scale(values, value_range)
    elif values.dtype == np.uint16:
        _refuse_unused_bits(int(values.max()))
        values = (values >> 8).astype(np.uint8)
    elif values.dtype != np.uint8:
        raise _unknown_range(values.dtype.name)
    if values.ndim == 2 or values.shape[2] < 3:  # grey, perhaps with opacity
        return _grey(values if values.ndim == 2 else values[..., 0])
    return np.ascontiguousarray(values[..., :3])


def opened(file: File) -> Union[str, BytesIO]:
    """What libraries open: a path, or bytes as a file."""
    return BytesIO(file) if isinstance(file, bytes) else str(file)


def is_tiff(file: File) -> bool:
    """Whether a file begins as TIFF files do."""
    if not isinstance(file, bytes):
        with open(file, 'rb') as stream:
            file = stream.read(4)
    return file[:4] in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')


def _read_tiff(path: File, number_of_page: int) -> np.ndarray:
    """Numbers (H, W) or (H, W, C), upright, of a page of a TIFF file."""
    with tifffile.TiffFile(opened(path)) as file:
        page = file.pages[number_of_page]
        if page.axes not in ('YX', 'YXS', 'SYX'):
            raise Refused(f'a TIFF page with the axes {page.axes}, not rows, columns and channels')
        number = page.tags[ORIENTATION].value if ORIENTATION in page.tags else 1
        try:
            values = page.asarray()
        except ValueError as error:  # compressed in a way that needs another package
            if page.axes == 'SYX' or number > 4 or number_of_page > 0:
                raise Refused(f'{error}') from error
            return _read_by_opencv(path)  # turns it by itself
        if page.axes == 'SYX':
            values = np.moveaxis(values, 0, -1)
        if page.photometric == WHITE_IS_ZERO and values.dtype.kind == 'u':
            values = np.iinfo(values.dtype).max - values
    return turn(values, number if number in TURNS else 1)


def _read_by_opencv(file: File) -> np.ndarray:
    """Numbers (H, W) or (H, W, C), colours in the order RGB."""
    data = np.frombuffer(file, dtype=np.uint8) if isinstance(file, bytes) \
        else np.fromfile(file, dtype=np.uint8)
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if values is None:
        raise Refused('neither Pillow nor OpenCV can read it')
    return values if values.ndim == 2 else values[..., 2::-1]


def _grey(values: np.ndarray) -> np.ndarray:
    """(H, W) -> (H, W, 3)."""
    return np.repeat(values[..., None], 3, axis=2)


def _stored_bits(image: Image.Image) -> int:
    """Bits of a sample in the file, which the mode alone does not tell: 8 where it is unknown."""
    if hasattr(image, 'tag_v2'):
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (8, ))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.mode == 'F':
        return 32
    if image.mode.startswith('I'):  # of formats that state their depth, scaled to 16 bits
        return 16
    tile = image.tile[0] if getattr(image, 'tile', None) else None
    return 16 if image.format == 'PNG' and tile and ';16' in str(tile[3]) else 8


def _scale_grey(image: Image.Image, bits: int, value_range: Range) -> np.ndarray:
    """uint8 (H, W) of an image of one deep channel."""
    values, tags = np.asarray(image), getattr(image, 'tag_v2', {})
    unsigned = image.mode != 'F' and tags.get(SAMPLE_FORMAT, (UNSIGNED, ))[0] == UNSIGNED
    if bits == 32 and unsigned:
        values = values.view(np.uint32)  # Pillow knows no 32 bits without sign
    if value_range is None:
        if bits == 16 and unsigned:
            _refuse_unused_bits(int(values.max()))
        if not unsigned or bits > 16:
            kind = 'float' if image.mode == 'F' else 'unsigned' if unsigned else 'signed'
            raise _unknown_range(f'{bits}-bit {kind}')
        grey = (values.astype(np.uint32) >> (bits - 8)).astype(np.uint8)
    else:
        grey = scale(values, value_range)
    return 255 - grey if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else grey


def _refuse_unused_bits(largest: int) -> None:
    if 0 < largest <= TWELVE_BITS:
        raise Refused(
            f'16-bit data of which no value is above {TWELVE_BITS}: 12 bits or fewer, or a dark '
            f'picture? Set value_range=(0, {TWELVE_BITS}), or (0, {SIXTEEN_BITS}) if it is dark')


def _unknown_range(kind: str) -> Refused:
    return Refused(f'{kind} data, whose range cannot be known: set value_range=(low, high), '
                      'the values that become black and white')
