"""The tools for data on folders of every kind, run in this process."""
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from mmwamim.commands import check as check_command
from mmwamim.datasets.loading import read_rgb
from tests.datasets.test_pixels import UPRIGHT, blocks
from tests.support.commands import load_tool

check = load_tool('tools/data/check.py')
resize = load_tool('tools/data/resize.py')
maker = load_tool('tools/data/make_corruptions.py')


def call(tool, monkeypatch, capsys, *arguments):
    """Exit code (or its message) and output; in threads, since processes would have to import
    what was loaded from a file."""
    place = check_command if tool is check else tool
    monkeypatch.setattr(place, 'ProcessPoolExecutor', ThreadPoolExecutor)
    monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments), '--workers', '1'])
    code = 0
    try:
        tool.main()
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr().out


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def turned(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def test_check_names_what_shows_nothing(tmp_path, monkeypatch, capsys):
    root, report = tmp_path / 'x', tmp_path / 'report.jsonl'
    write(root / 'good.png', blocks())
    write(root / 'black.png', np.zeros((9, 9, 3), np.uint8))
    write(root / 'speck.gif', np.pad(np.uint8([[9]]), 20))
    write(root / 'flat.jpg', np.full((32, 32, 3), 99, np.uint8), quality=30)
    write(root / 'twelve.png', np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16))
    (root / 'notes.txt').write_text('x')
    code, out = call(check, monkeypatch, capsys, root, '--report', report)
    assert code == 1 and '5 images, 5 looked at now, 1 unreadable, 3 nearly of one colour' in out
    assert '5 images in' in out and 'left out: .txt 1' in out
    for name in ('black.png', 'speck.gif', 'flat.jpg'):
        assert f'{name}: nearly of one colour' in out
    assert 'good.png' not in out and 'twelve.png: 16-bit data' in out
    # Known results are told again, and a range makes the dark one anew.
    code, again = call(check, monkeypatch, capsys, root, '--report', report)
    assert code == 1 and '0 looked at now, 1 unreadable, 3 nearly' in again
    assert 'black.png: nearly of one colour' in again
    code, out = call(check, monkeypatch, capsys, root, '--report', report, '--value-range', 0, 4095)
    assert code == 0 and '0 unreadable, 3 nearly of one colour' in out
    code, out = call(check, monkeypatch, capsys, root, '--report', report, '--value-range', 0,
                     65535)
    assert code == 0 and '4 nearly of one colour' in out  # 12 bits as a sixteenth of the range
    assert 'two rising numbers' in call(check, monkeypatch, capsys, root, '--value-range', 5, 5)[0]


def test_resize_follows_links_and_leaves_out_what_it_wrote(tmp_path, monkeypatch, capsys):
    root = tmp_path / 'x'
    write(root / 'a/1.png', blocks())
    write(tmp_path / 'far/2.webp', blocks(1), lossless=True)
    write(root / '.trash/3.png', blocks())
    (root / 'b').symlink_to(tmp_path / 'far')
    (root / 'loop').symlink_to(root)
    target = root / 'small'
    for _ in range(3):
        code, out = call(resize, monkeypatch, capsys, root, target, '--short', 16)
        assert code == 0 and '2 of 2 images in' in out and "it leads back to" in out
        assert {str(path.relative_to(target)) for path in target.rglob('*') if path.is_file()} == {
            'a/1.png.jpg', 'b/2.webp.jpg'}
    code, _ = call(resize, monkeypatch, capsys, root, target, '--short', 8)
    assert 'was made with other settings' in code and '"short": 16' in code


def test_resize_leaves_out_what_it_wrote_under_another_name(tmp_path, monkeypatch, capsys):
    write(tmp_path / 'x/a.png', blocks())
    for name, short in (('small', 16), ('tiny', 8)):
        code, out = call(resize, monkeypatch, capsys, tmp_path / 'x', tmp_path / 'x' / name,
                         '--short', short)
        assert code == 0 and '1 of 1 images in' in out
    assert [path.name for path in (tmp_path / 'x/tiny').rglob('*.*')] == ['a.png.jpg']


def test_resize_encodes_nothing_twice(tmp_path, monkeypatch, capsys):
    write(tmp_path / 'x/big.jpg', blocks(), quality=95)
    write(tmp_path / 'x/turned.jpg', blocks(rows=2, columns=2), quality=95, exif=turned(6))
    call(resize, monkeypatch, capsys, tmp_path / 'x', tmp_path / 'y', '--short', 16)
    code, _ = call(resize, monkeypatch, capsys, tmp_path / 'y', tmp_path / 'z', '--short', 16)
    assert code == 0
    for name in ('big.jpg', 'turned.jpg'):
        assert (tmp_path / 'y' / name).read_bytes() == (tmp_path / 'z' / name).read_bytes()
        assert (tmp_path / 'x' / name).read_bytes() != (tmp_path / 'y' / name).read_bytes()
    right = UPRIGHT[6](blocks(rows=2, columns=2)).astype(int)
    assert abs(read_rgb(tmp_path / 'y/turned.jpg') - right).mean() < 12


def test_resize_loses_no_image_to_a_name(tmp_path, monkeypatch, capsys):
    write(tmp_path / 'x/a.png', blocks())
    write(tmp_path / 'x/a.png.jpg', blocks(1))
    code, _ = call(resize, monkeypatch, capsys, tmp_path / 'x', tmp_path / 'y')
    assert 'x/a.png and' in code and 'x/a.png.jpg would get the same name, a.png.jpg' in code
    assert not (tmp_path / 'y').exists()


def test_resize_scales_deep_data_by_the_range(tmp_path, monkeypatch, capsys):
    values = np.full((16, 16), 400, np.uint16)
    write(tmp_path / 'x/a.tif', values)
    code, out = call(resize, monkeypatch, capsys, tmp_path / 'x', tmp_path / 'y')
    assert code == 1 and '1 unreadable' in out and 'Set value_range' in out
    code, _ = call(resize, monkeypatch, capsys, tmp_path / 'x', tmp_path / 'z', '--value-range', 0,
                   800)
    assert code == 0 and abs(read_rgb(tmp_path / 'z/a.tif.jpg').astype(int) - 128).max() <= 1


def test_corruptions_are_of_upright_pictures(tmp_path, capsys, monkeypatch):
    stored = np.asarray(Image.fromarray(blocks()).resize((120, 80), Image.NEAREST))
    write(tmp_path / 'x/c/plain.png', UPRIGHT[6](stored))
    write(tmp_path / 'x/c/photo.jpg', stored, exif=turned(6), quality=100, subsampling=0)
    ours = maker.crop_centre(tmp_path / 'x/c/photo.jpg', 64).astype(int)
    assert abs(ours - maker.crop_centre(tmp_path / 'x/c/plain.png', 64)).mean() < 3
    (tmp_path / 'x/c/broken.jpg').write_bytes(b'nothing')
    (tmp_path / 'x/d').symlink_to(tmp_path / 'x/c')
    monkeypatch.setattr(maker, 'corrupt', lambda image, *settings: image)
    with pytest.raises(SystemExit, match='1'):
        maker.main([str(tmp_path / 'x'), str(tmp_path / 'C'), '--size', '64'])
    out = capsys.readouterr().out
    assert '150 files written' in out and '2 images in each folder, 1 unreadable' in out
    assert out.count('left out ' + str(tmp_path / 'x/c/broken.jpg')) == 1
    assert json.loads((tmp_path / 'C/corruptions.json').read_text()) == dict(seed=0, size=64)
    found = np.asarray(Image.open(tmp_path / 'C/fog/3/c/photo.JPEG')).astype(int)
    assert abs(found - ours).mean() < 8


def test_corruptions_name_images_that_would_share_a_file(tmp_path):
    write(tmp_path / 'c/a.png', blocks())
    write(tmp_path / 'c/a.jpg', blocks())
    with pytest.raises(ValueError, match='c/a.jpg and .*c/a.png: two images named a'):
        maker.find_images(tmp_path, None)
