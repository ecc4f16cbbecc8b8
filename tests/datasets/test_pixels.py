"""What files of every kind become, against values worked out by hand or by another library."""
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mmwamim.datasets import LoadImage
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from mmwamim.datasets.pixels import check_range, scale

# EXIF's eight ways to store one upright picture: numpy's words for undoing each.
UPRIGHT = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
           5: lambda a: np.transpose(a, (1, 0, 2)), 6: lambda a: np.rot90(a, 3),
           7: lambda a: np.rot90(np.transpose(a, (1, 0, 2)), 2), 8: lambda a: np.rot90(a, 1)}


def blocks(seed=0, rows=4, columns=6, size=8):
    """(32, 48, 3): squares of one colour each, so that lossy formats keep their middles."""
    colours = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    return colours.repeat(size, 0).repeat(size, 1)


def write_png(path, values, *chunks):
    """A PNG of uint16 or uint8 values with chunks of one's own in front of the pixels."""
    data = cv2.imencode('.png', values)[1].tobytes()
    extra = b''.join(struct.pack('>I', len(body)) + name + body
                     + struct.pack('>I', zlib.crc32(name + body)) for name, body in chunks)
    path.write_bytes(data[:33] + extra + data[33:])


@pytest.mark.parametrize('number', UPRIGHT)
@pytest.mark.parametrize('name, options, tolerance', [
    ('x.jpg', dict(quality=100, subsampling=0), 12), ('x.png', {}, 0), ('x.tif', {}, 0),
    ('x.webp', dict(lossless=True), 0), ('x.mpo', dict(quality=100, subsampling=0), 12),
    ('x.avif', dict(quality=100, subsampling='4:4:4'), 12)])
def test_every_turn_of_every_format_is_undone(tmp_path, name, options, number, tolerance):
    exif = Image.Exif()
    exif[0x0112] = number
    stored = blocks()
    Image.fromarray(stored).save(tmp_path / name, exif=exif, **options)
    pixels, right = read_rgb(tmp_path / name), UPRIGHT[number](stored)
    assert pixels.shape == right.shape
    assert abs(pixels.astype(int) - right).max() <= tolerance


def test_a_turn_said_in_xmp_alone_and_damaged_exif(tmp_path):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    image = Image.fromarray(blocks())
    image.save(tmp_path / 'x.jpg', xmp=xmp)
    assert read_rgb(tmp_path / 'x.jpg').shape == (48, 32, 3)
    for name in ('broken.jpg', 'broken.png', 'broken.webp'):
        image.save(tmp_path / name, exif=b'Exif\0\0MM\0*\xff\xff\xff\xff nothing')
        assert read_rgb(tmp_path / name).shape == (32, 48, 3)
    exif = Image.Exif()
    exif[0x0112] = 42  # there are eight
    image.save(tmp_path / 'y.png', exif=exif)
    assert np.array_equal(read_rgb(tmp_path / 'y.png'), blocks())


def test_garbage_behind_a_jpeg_is_no_damage(tmp_path):
    data = io.BytesIO()
    Image.fromarray(blocks()).save(data, 'JPEG')
    (tmp_path / 'a.jpg').write_bytes(data.getvalue())
    (tmp_path / 'b.jpg').write_bytes(data.getvalue() + b'garbage' * 100)
    assert np.array_equal(read_rgb(tmp_path / 'a.jpg'), read_rgb(tmp_path / 'b.jpg'))


def test_lab_agrees_with_another_library(tmp_path):
    from skimage.color import rgb2lab
    right = blocks(1)
    lab = rgb2lab(right / 255., illuminant='D65')
    stored = np.stack([lab[..., 0] * 2.55, lab[..., 1], lab[..., 2]], -1).round()
    tifffile.imwrite(tmp_path / 'x.tif', stored.astype(np.int16).astype(np.uint8),
                     photometric='cielab')
    difference = abs(read_rgb(tmp_path / 'x.tif').astype(int) - right)
    assert np.median(difference) <= 4 and difference.mean() < 6, difference.mean()


def test_luma_and_chroma_grey_with_opacity_and_multiplied_colours(tmp_path):
    right = blocks(2)
    Image.fromarray(right).convert('YCbCr').save(tmp_path / 'y.tif')
    assert abs(read_rgb(tmp_path / 'y.tif').astype(int) - right).max() <= 3
    # Transparency is dropped everywhere: the stored colours show.
    clear = np.dstack([right, np.full(right.shape[:2], 10, np.uint8)])
    for name in ('a.png', 'a.tif', 'a.tga'):
        Image.fromarray(clear).save(tmp_path / name)
        assert np.array_equal(read_rgb(tmp_path / name), right), name
    Image.fromarray(clear).save(tmp_path / 'a.webp', lossless=True, exact=True)
    assert np.array_equal(read_rgb(tmp_path / 'a.webp'), right)
    Image.fromarray(clear[..., 2:], 'LA').save(tmp_path / 'la.png')
    assert np.array_equal(read_rgb(tmp_path / 'la.png'), right[..., 2:].repeat(3, 2))
    palette = Image.fromarray(right).quantize(24)
    colours = np.asarray(palette.convert('RGB'))
    palette.save(tmp_path / 'p.png', transparency=3)
    palette.save(tmp_path / 'p.gif', transparency=3)
    assert np.array_equal(read_rgb(tmp_path / 'p.png'), colours)
    assert np.array_equal(read_rgb(tmp_path / 'p.gif'), colours)


def test_inks_of_a_jpeg(tmp_path):
    """Cyan, magenta, yellow, black and half of each ink, as Adobe writes them: inverted."""
    inks = np.array([[[255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255],
                      [0, 0, 0, 0], [0, 0, 0, 128]]], np.uint8).repeat(16, 0).repeat(16, 1)
    Image.fromarray(inks, 'CMYK').save(tmp_path / 'x.jpg', quality=100)
    found = read_rgb(tmp_path / 'x.jpg')[8, 8::16].astype(int)
    right = [[0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0], [255] * 3, [127] * 3]
    assert abs(found - right).max() <= 3


SIXTEEN = np.array([[0, 256, 65535], [32768, 511, 512]], np.uint16)


@pytest.mark.parametrize('name', ['x.png', 'x.tif', 'x.jp2', 'x.pgm'])
def test_sixteen_bits_by_their_full_range_in_every_format(tmp_path, name):
    Image.fromarray(SIXTEEN).save(tmp_path / name)
    assert read_rgb(tmp_path / name)[..., 1].tolist() == [[0, 1, 255], [128, 1, 2]]


def test_byte_order_and_white_as_zero(tmp_path):
    tifffile.imwrite(tmp_path / 'big.tif', SIXTEEN, byteorder='>')
    tifffile.imwrite(tmp_path / 'white.tif', SIXTEEN, photometric='miniswhite')
    grey = np.array([[0, 1, 255], [128, 1, 2]])
    assert np.array_equal(read_rgb(tmp_path / 'big.tif')[..., 0], grey)
    assert np.array_equal(read_rgb(tmp_path / 'white.tif')[..., 0], 255 - grey)


@pytest.mark.parametrize('colour', [False, True])
@pytest.mark.parametrize('ending', ['.png', '.tif'])
def test_twelve_bits_in_sixteen_need_a_word(tmp_path, colour, ending):
    values = np.array([[0, 1024, 4095], [2048, 16, 4080]], np.uint16)
    if colour:
        values = np.dstack([values, values // 2, values // 4])
    path = tmp_path / f'x{ending}'
    assert cv2.imwrite(str(path), values[..., ::-1] if colour else values)
    with pytest.raises(UnreadableImage, match=rf'x{ending}: 16-bit .* Set value_range=\(0, 4095\)'):
        read_rgb(path)
    shown = values if colour else values[..., None].repeat(3, 2)
    right = np.rint(shown / 4095 * 255)
    assert np.array_equal(read_rgb(path, value_range=(0, 4095)), right)
    dark = read_rgb(path, value_range=(0, 65535))
    assert np.array_equal(dark, np.rint(shown / 65535 * 255))
    bgr = LoadImage(value_range=[0, 4095]).transform(dict(img_path=str(path)))['img']
    assert np.array_equal(bgr, right[..., ::-1])


def test_sixteen_bit_colours_are_turned_with_a_range_too(tmp_path):
    values = np.arange(24, dtype=np.uint16).reshape(2, 4, 3) * 100
    exif = b'MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    write_png(tmp_path / 'x.png', values[..., ::-1], (b'eXIf', exif))
    right = np.rot90(np.rint(values / 2300 * 255), 3)
    assert np.array_equal(read_rgb(tmp_path / 'x.png', value_range=(0, 2300)), right)


def test_an_empty_page_of_sixteen_bits_is_black(tmp_path):
    Image.fromarray(np.zeros((3, 4), np.uint16)).save(tmp_path / 'x.png')
    assert not read_rgb(tmp_path / 'x.png').any()


@pytest.mark.parametrize('kind', ['float16', 'float32', 'float64', 'int8', 'int16', 'int32',
                                  'uint32', 'uint64'])
@pytest.mark.parametrize('colour', [False, True])
def test_numbers_without_a_known_range_are_refused_or_scaled(tmp_path, kind, colour):
    values = np.array([[0, 25, 50], [100, 75, 10]]).astype(kind)
    if kind.startswith('float'):
        values /= 100
    values = np.dstack([values, values, values]) if colour else values
    path = tmp_path / f'{kind}.tif'
    tifffile.imwrite(path, values, photometric='rgb' if colour else 'minisblack')
    with pytest.raises(UnreadableImage, match=rf'{kind}.tif: .* set value_range=\(low, high\)'):
        read_rgb(path)
    top = 1 if kind.startswith('float') else 100
    grey = np.array([[0, 64, 128], [255, 191, 26]])  # 63.75, 127.5, 191.25 and 25.5, rounded
    found = read_rgb(path, value_range=(0, top))
    assert abs(found - grey[..., None]).max() <= 1 and found.shape == (2, 3, 3)


@pytest.mark.parametrize('compression', [None, 'zlib'])
@pytest.mark.parametrize('kind', ['uint8', 'uint16', 'float32'])
def test_planes_one_after_another(tmp_path, kind, compression):
    right = blocks()
    stored = dict(uint8=right, uint16=right.astype(np.uint16) * 257,
                  float32=right.astype(np.float32) / 255)[kind]
    tifffile.imwrite(tmp_path / 'x.tif', np.moveaxis(stored, 2, 0), photometric='rgb',
                     planarconfig='separate', compression=compression)
    top = dict(uint8=None, uint16=(0, 65535), float32=(0, 1))[kind]
    assert np.array_equal(read_rgb(tmp_path / 'x.tif', value_range=top), right)
    if kind == 'uint16':
        assert np.array_equal(read_rgb(tmp_path / 'x.tif'), right)


@pytest.mark.parametrize('number', UPRIGHT)
def test_deep_colours_are_turned(tmp_path, number):
    stored = blocks().astype(np.float32)
    tifffile.imwrite(tmp_path / 'x.tif', stored, photometric='rgb',
                     extratags=[(274, 'H', 1, number, True)])
    assert np.array_equal(read_rgb(tmp_path / 'x.tif', value_range=(0, 255)),
                          UPRIGHT[number](blocks()))


def test_deep_colours_that_need_another_decoder(tmp_path):
    values = blocks().astype(np.uint16) * 16
    assert cv2.imwrite(str(tmp_path / 'x.tif'), values[..., ::-1],
                       [cv2.IMWRITE_TIFF_COMPRESSION, 5])  # LZW
    assert np.array_equal(read_rgb(tmp_path / 'x.tif', value_range=(0, 4080)), blocks())


def test_the_page_that_is_not_blank_in_deep_colours(tmp_path):
    tifffile.imwrite(tmp_path / 'x.tif', np.stack([np.zeros((32, 48, 3), np.uint16),
                                                   blocks().astype(np.uint16) * 16]),
                     photometric='rgb')
    assert np.array_equal(read_rgb(tmp_path / 'x.tif', value_range=(0, 4080)), blocks())


def test_hounsfield_units(tmp_path):
    tifffile.imwrite(tmp_path / 'ct.tif', np.array([[-1000, -160, 40, 240, 3000]], np.int32))
    assert read_rgb(tmp_path / 'ct.tif', value_range=(-160, 240))[0, :, 0].tolist() == [
        0, 0, 128, 255, 255]


def test_large_numbers_without_sign_and_numbers_that_are_none(tmp_path):
    tifffile.imwrite(tmp_path / 'u.tif', np.array([[0, 2**31, 2**32 - 1]], np.uint32))
    assert read_rgb(tmp_path / 'u.tif', value_range=(0, 2**32 - 1))[0, :, 0].tolist() == [
        0, 128, 255]
    assert scale(np.array([np.nan, -np.inf, np.inf, 0.5]), (0, 1)).tolist() == [0, 0, 255, 128]


@pytest.mark.parametrize('bad', [(1, 0), (0, 0), 5, 'ab', (0, float('nan')), (1, 2, 3)])
def test_bad_ranges_are_named(bad):
    with pytest.raises(ValueError, match='value_range must be two rising numbers'):
        check_range(bad)
    with pytest.raises(ValueError, match='value_range'):
        LoadImage(value_range=bad)


def test_eight_bits_do_not_go_by_the_range(tmp_path):
    Image.fromarray(blocks()).save(tmp_path / 'x.png')
    assert np.array_equal(read_rgb(tmp_path / 'x.png', value_range=(0, 4095)), blocks())


@pytest.mark.parametrize('bits, top', [(1, 1), (2, 3), (4, 15)])
def test_few_bits_by_their_full_range(tmp_path, bits, top):
    """A grey PNG by hand: one row of the two ends and, where there is one, a middle."""
    row = [0, top, top // 2, 0] + [0] * 4
    packed = int(''.join(f'{value:0{bits}b}' for value in row), 2).to_bytes(bits, 'big')

    def chunk(name, body):
        return struct.pack('>I', len(body)) + name + body + struct.pack(
            '>I', zlib.crc32(name + body))

    (tmp_path / 'x.png').write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 8, 1, bits, 0, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(b'\0' + packed)) + chunk(b'IEND', b''))
    assert read_rgb(tmp_path / 'x.png')[0, :4, 0].tolist() == [
        0, 255, top // 2 * 255 // top, 0]


@pytest.mark.parametrize('name', ['x.tif', 'x.gif', 'x.webp', 'x.png', 'x.avif'])
def test_the_first_page_that_is_not_blank(tmp_path, name):
    pages = [Image.new('RGB', (48, 32)), Image.new('RGB', (48, 32), 'white'),
             Image.fromarray(blocks()), Image.fromarray(blocks(5))]
    lossless = dict(lossless=True) if name == 'x.webp' else dict(quality=95) \
        if name == 'x.avif' else {}
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:], duration=100,
                  **({} if name == 'x.tif' else lossless))
    found = read_rgb(tmp_path / name).astype(int)
    assert abs(found - blocks()).mean() < (10 if name in ('x.gif', 'x.avif') else 0.01)
    pages[0].save(tmp_path / name, save_all=True, append_images=[pages[1]], duration=100)
    assert read_rgb(tmp_path / name).max() <= 1  # all blank: the first


def test_pages_of_sixteen_bits(tmp_path):
    tifffile.imwrite(tmp_path / 'x.tif', np.stack([np.zeros_like(SIXTEEN), SIXTEEN]),
                     photometric='minisblack')
    assert read_rgb(tmp_path / 'x.tif')[..., 0].tolist() == [[0, 1, 255], [128, 1, 2]]


def chunked_png(path, kind, bits, rows):
    """A PNG by hand: colour type ``kind`` and rows of bytes."""
    def chunk(name, body):
        return struct.pack('>I', len(body)) + name + body + struct.pack(
            '>I', zlib.crc32(name + body))

    width = len(rows[0]) // {4: 4, 6: 8}[kind]
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(
        b'IHDR', struct.pack('>IIBBBBB', width, len(rows), bits, kind, 0, 0, 0)) + chunk(
        b'IDAT', zlib.compress(b''.join(b'\0' + row for row in rows))) + chunk(b'IEND', b''))


def test_sixteen_bits_with_opacity(tmp_path):
    """Grey with alpha and RGBA, of 16 bits a sample: the upper 8 of the colours, or by a range."""
    grey = np.array([[[0x1234, 0], [0xff00, 0xffff]]], '>u2')
    chunked_png(tmp_path / 'la.png', 4, 16, [row.tobytes() for row in grey])
    assert read_rgb(tmp_path / 'la.png')[0, :, 0].tolist() == [0x12, 0xff]
    assert read_rgb(tmp_path / 'la.png', value_range=(0, 0x2468))[0, :, 0].tolist() == [128, 255]
    colour = np.array([[[0x1234, 0x5678, 0x9abc, 0], [0xff00, 1, 2, 0xffff]]], '>u2')
    chunked_png(tmp_path / 'rgba.png', 6, 16, [row.tobytes() for row in colour])
    assert read_rgb(tmp_path / 'rgba.png').tolist() == [[[0x12, 0x56, 0x9a], [0xff, 0, 0]]]


def test_files_that_are_called_otherwise_go_by_what_is_in_them(tmp_path):
    for kind, name in (('PNG', 'x.jpg'), ('TIFF', 'x.png'), ('BMP', 'x.jpeg'), ('WEBP', 'x.gif')):
        options = dict(lossless=True) if kind == 'WEBP' else {}
        Image.fromarray(blocks()).save(tmp_path / name, kind, **options)
        assert np.array_equal(read_rgb(tmp_path / name), blocks()), name
    np.save(tmp_path / 'x.npy', blocks())
    (tmp_path / 'page.jpg').write_text('<html>not found</html>')
    for name in ('x.npy', 'page.jpg'):
        with pytest.raises(UnreadableImage, match=f'{name} is no picture that Pillow knows'):
            read_rgb(tmp_path / name)


def test_floats_of_other_formats_and_byte_orders(tmp_path):
    values = np.array([[0, 0.5, np.nan], [1, 2, -np.inf]], np.float32)
    Image.fromarray(values).save(tmp_path / 'x.pfm')
    tifffile.imwrite(tmp_path / 'x.tif', values, byteorder='>')
    for name in ('x.pfm', 'x.tif'):
        with pytest.raises(UnreadableImage, match='whose range cannot be known'):
            read_rgb(tmp_path / name)
        assert read_rgb(tmp_path / name, value_range=(0, 1))[..., 0].tolist() == [
            [0, 128, 0], [255, 255, 0]]


def test_a_palette_with_half_transparent_entries(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), 'P')
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / 'x.png', transparency=bytes([0, 128, 255]))
    assert read_rgb(tmp_path / 'x.png').tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]


def test_frames_that_differ_in_opacity_alone_are_blank(tmp_path):
    blank = np.zeros((8, 8, 2), np.uint8)
    blank[:4, :, 1] = 255
    shown = np.dstack([np.arange(64, dtype=np.uint8).reshape(8, 8)] + [np.full((8, 8), 255, 'u1')])
    pages = [Image.fromarray(page, 'LA') for page in (blank, shown)]
    pages[0].save(tmp_path / 'x.tif', save_all=True, append_images=pages[1:])
    assert np.array_equal(read_rgb(tmp_path / 'x.tif')[..., 0], shown[..., 0])


def test_twelve_bits_that_the_file_states(tmp_path):
    """A TIFF of packed 12-bit samples goes by those: the upper 8 of 12."""
    values, packed = [0, 4095, 2048, 16], bytearray()
    for a, b in zip(values[::2], values[1::2]):
        packed += bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
    tags = [(256, 4, 1, 4), (257, 4, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1),
            (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 1, len(packed))]
    directory = struct.pack('<H', len(tags)) + b''.join(
        struct.pack('<HHII', *tag) for tag in tags) + struct.pack('<I', 0)
    (tmp_path / 'x.tif').write_bytes(
        b'II*\0' + struct.pack('<I', 8 + len(packed)) + packed + directory)
    assert read_rgb(tmp_path / 'x.tif')[0, :, 0].tolist() == [0, 255, 128, 1]
