
import numpy as np
import pytest
from PIL import Image

from mmwamim.datasets import LoadImage, UnlabelledImages, loading
from mmwamim.datasets.loading import UnreadableImage, read_rgb
from tests.faults.damaged_images import DAMAGED, encode
from tests.support.commands import QUICK, run_here
from tests.support.processes import train_in_ranks

RED, GREEN = (255, 0, 0), (0, 255, 0)


def two_halves(mode='RGB'):
    """Left half red, right half green, 8 x 4."""
    pixels = np.zeros((4, 8, 3), dtype=np.uint8)
    pixels[:, :4], pixels[:, 4:] = RED, GREEN
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize('name, image', [
    ('rgb.png', two_halves()), ('palette.png', two_halves('P')), ('palette.gif', two_halves('P')),
    ('alpha.png', two_halves('RGBA')), ('cmyk.tif', two_halves('CMYK'))])
def test_every_mode_becomes_rgb(tmp_path, name, image):
    image.save(tmp_path / name)
    pixels = read_rgb(tmp_path / name)
    assert pixels.dtype == np.uint8 and pixels.shape == (4, 8, 3)
    assert (pixels[:, :4] == RED).all() and (pixels[:, 4:] == GREEN).all()


def test_cmyk_jpeg(tmp_path):
    two_halves('CMYK').resize((64, 32)).save(tmp_path / 'x.jpg', quality=100)
    pixels = read_rgb(tmp_path / 'x.jpg').astype(int)
    assert abs(pixels[:, :24] - RED).max() < 30 and abs(pixels[:, 40:] - GREEN).max() < 30


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    values = np.array([[0, 256, 65535], [32768, 511, 512]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / 'x.png')
    assert read_rgb(tmp_path / 'x.png')[..., 0].tolist() == [[0, 1, 255], [128, 1, 2]]


def test_one_bit_grey_and_a_single_pixel(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / 'bits.png')
    assert read_rgb(tmp_path / 'bits.png').tolist() == [[[255] * 3, [0] * 3]]
    Image.new('L', (1, 1), 77).save(tmp_path / 'pixel.png')
    assert read_rgb(tmp_path / 'pixel.png').tolist() == [[[77] * 3]]


def test_rotation_of_exif_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    two_halves().resize((64, 32), Image.NEAREST).save(tmp_path / 'x.jpg', exif=exif, quality=100)
    pixels = read_rgb(tmp_path / 'x.jpg').astype(int)
    assert pixels.shape == (64, 32, 3)
    assert abs(pixels[:24] - RED).max() < 40 and abs(pixels[40:] - GREEN).max() < 40


def test_the_transform_gives_bgr(tmp_path):
    two_halves().save(tmp_path / 'x.png')
    results = LoadImage()(dict(img_path=str(tmp_path / 'x.png')))
    assert results['img'][0, 0].tolist() == [0, 0, 255]
    assert results['img_shape'] == results['ori_shape'] == (4, 8)


@pytest.mark.parametrize('name', DAMAGED)
def test_damaged_files_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(DAMAGED[name])
    with pytest.raises(UnreadableImage, match=name):
        read_rgb(tmp_path / name)


def make(folder, good, bad):
    folder.mkdir(parents=True)
    for number in range(good):
        (folder / f'good{number:02d}.jpg').write_bytes(encode('JPEG', number))
    for name in list(DAMAGED)[:bad]:
        (folder / f'bad_{name}').write_bytes(DAMAGED[name])
    return folder


def test_unreadable_images_are_replaced_and_logged_once(tmp_path, caplog):
    images = UnlabelledImages(str(make(tmp_path / 'x', 20, 5)), pipeline=[dict(
        type='mmwamim.LoadImage')], max_unreadable=0.2)
    for _ in range(3):
        for index in range(25):
            assert 'good' in images[index]['img_path']
    assert int(images._unreadable.sum()) == 5


def test_too_many_unreadable_images_stop_the_run(tmp_path):
    images = UnlabelledImages(str(make(tmp_path / 'x', 20, 5)), pipeline=[dict(
        type='mmwamim.LoadImage')], max_unreadable=0.1)
    with pytest.raises(RuntimeError, match=r'3 of 25 images .* more than max_unreadable = 0.1'):
        for index in range(25):
            images[index]
    with pytest.raises(ValueError, match='max_unreadable must lie'):
        UnlabelledImages(str(tmp_path / 'x'), max_unreadable=2)


def test_a_run_and_the_checking_tool(tmp_path):
    folder = make(tmp_path / 'x', 30, 12)
    report = tmp_path / 'report.jsonl'
    command = ('tools/data/check.py', folder, '--workers', 1, '--report', report)
    code, log = run_here(*command)
    assert code == 1 and '42 images, 42 looked at now, 12 unreadable' in log, log
    report.write_text(report.read_text()[:-200])  # interrupted
    code, log = run_here(*command)
    assert code == 1 and '42 images, 2 looked at now, 12 unreadable' in log.replace(
        '1 looked', '2 looked'), log

    common = (QUICK, '--data', folder, '--epochs', 2, '--batch-size', 7, '--work-dir')
    code, log = train_in_ranks(*common, tmp_path / 'w', '--cfg-options',
                               'train_dataloader.dataset.max_unreadable=0.5', ranks=1)
    assert code == 0, log[-2000:]
    skipped = [line for line in log.splitlines() if 'unreadable image, skipped' in line]
    assert len(skipped) == 12 and all('bad_' in line for line in skipped)
    code, log = train_in_ranks(*common, tmp_path / 'v', ranks=1)
    assert code != 0 and 'cannot be read, more than max_unreadable = 0.01' in log


@pytest.mark.parametrize('mode', ['RGB', 'L'])
@pytest.mark.parametrize('options', [dict(quality=90), dict(quality=70, progressive=True),
                                     dict(quality=95, subsampling=0)])
def test_the_fast_decoder_gives_pillows_values(tmp_path, monkeypatch, mode, options):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (9, 13, 3), dtype=np.uint8))
    small.resize((131, 90), Image.BICUBIC).convert(mode).save(tmp_path / 'x.jpg', **options)
    assert loading._read_plain_jpeg(tmp_path / 'x.jpg', 10**6, 'RGB') is not None
    fast = read_rgb(tmp_path / 'x.jpg')
    bgr = LoadImage().transform(dict(img_path=str(tmp_path / 'x.jpg')))['img']
    monkeypatch.setattr(loading, 'simplejpeg', None)
    slow = read_rgb(tmp_path / 'x.jpg')
    assert np.array_equal(fast, slow) and np.array_equal(bgr, slow[..., ::-1])


def test_what_the_fast_decoder_leaves_to_pillow(tmp_path):
    image = two_halves().resize((64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / 'turned.jpg', exif=exif)
    image.convert('CMYK').save(tmp_path / 'cmyk.jpg')
    image.save(tmp_path / 'x.png')
    image.save(tmp_path / 'whole.jpg')
    (tmp_path / 'cut.jpg').write_bytes((tmp_path / 'whole.jpg').read_bytes()[:400])
    (tmp_path / 'head.jpg').write_bytes(b'\xff\xd8\xff')
    for name in ('turned.jpg', 'cmyk.jpg', 'x.png', 'cut.jpg', 'head.jpg', 'missing.jpg'):
        assert loading._read_plain_jpeg(tmp_path / name, 10**6, 'RGB') is None, name
    assert read_rgb(tmp_path / 'turned.jpg').shape == (64, 32, 3)
    assert loading._read_plain_jpeg(tmp_path / 'whole.jpg', 100, 'RGB') is None  # too large


@pytest.mark.parametrize('data, words', [
    (b'', 'it is empty'), (b'version https://git-lfs.github.com/spec/v1\noid', 'git lfs pull'),
    (b'\0\0\0\x18ftypheic' + bytes(90), 'it is HEIC, to be converted'), (b' <html>', 'web page')])
def test_what_often_has_the_name_of_a_picture_is_said(tmp_path, data, words):
    (tmp_path / 'a.jpg').write_bytes(data)
    for given in (None, data):
        with pytest.raises(UnreadableImage, match=f'a.jpg is no picture .*: .*{words}'):
            read_rgb(tmp_path / 'a.jpg', data=given)
