"""mmwamim resize on folders of every kind."""
import sys

import numpy as np
import pytest
from PIL import Image

from mmwamim.commands import resize as command
from mmwamim.datasets.loading import read_rgb
from mmwamim.errors import UserError
from tests.datasets.test_pixels import UPRIGHT, blocks
from tests.support.commands import call, run
from tests.support.small_data import make_sizes, turned, write


def resize(capsys, *words):
    return call(capsys, 'resize', *words, '--workers', 1)


@pytest.fixture
def folder(tmp_path):
    root = make_sizes(tmp_path / 'from')
    (root / 'b/broken.jpg').write_bytes(b'\xff\xd8\xff\xe0nothing')
    return root


def test_same_layout_smaller_and_resumable(folder, tmp_path, capsys):
    target = tmp_path / 'to'
    code, log = run(sys.executable, 'tools/data/resize.py', folder, target, '--short', 100,
                    '--workers', 2)
    assert code == 1 and 'broken.jpg' in log
    assert '4 of 5 images' in log and '1 unreadable' in log
    sizes = {str(path.relative_to(target)): Image.open(path).size for path in target.rglob('*')
             if path.is_file()}
    assert sizes == {'a/wide.jpg': (150, 100), 'a/tall.png.jpg': (100, 250),
                     'b/small.JPEG': (60, 50), 'b/tall.jpg': (100, 101)}
    theirs = Image.open(folder / 'a/wide.jpg').resize((150, 100), Image.BICUBIC)
    ours = np.asarray(Image.open(target / 'a/wide.jpg'), float)
    assert abs(ours - np.asarray(theirs, float)).mean() < 3  # JPEG at quality 85

    before = {path: path.stat().st_mtime_ns for path in target.rglob('*.jpg')}
    (target / 'a/wide.jpg').unlink()
    (folder / 'b/broken.jpg').unlink()
    code, out = resize(capsys, folder, target, '--short', 100)
    assert code == 0 and '4 of 4 images' in out
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {'wide.jpg'}


def test_errors_are_named(folder, tmp_path, capsys):
    assert "'/none' is not a folder" in resize(capsys, '/none', tmp_path)[0]
    assert 'must differ' in resize(capsys, folder, folder)[0]
    assert '--short' in resize(capsys, folder, tmp_path / 'to', '--short', 0)[0]
    (tmp_path / 'empty').mkdir()
    assert 'no image' in resize(capsys, tmp_path / 'empty', tmp_path / 'to')[0]
    (folder / 'a/tall.png.jpg').write_bytes(b'x')
    assert 'same name' in resize(capsys, folder, tmp_path / 'to')[0]


def test_a_call_says_what_it_wrote(folder, tmp_path):
    made = command.resize(folder, tmp_path / 'to', short=100, workers=1)
    assert (made.folder, made.images) == (tmp_path / 'to', 5)
    assert len(made.unreadable) == 1 and 'broken.jpg' in made.unreadable[0]
    with pytest.raises(UserError, match='made with other settings'):
        command.resize(folder, tmp_path / 'to', short=99, workers=1)


def test_resize_follows_links_and_leaves_out_what_it_wrote(tmp_path, capsys):
    root = tmp_path / 'x'
    write(root / 'a/1.png', blocks())
    write(tmp_path / 'far/2.webp', blocks(1), lossless=True)
    write(root / '.trash/3.png', blocks())
    (root / 'b').symlink_to(tmp_path / 'far')
    (root / 'loop').symlink_to(root)
    target = root / 'small'
    for _ in range(3):
        code, out = resize(capsys, root, target, '--short', 16)
        assert code == 0 and '2 of 2 images in' in out and "it leads back to" in out
        assert {str(path.relative_to(target)) for path in target.rglob('*') if path.is_file()} == {
            'a/1.png.jpg', 'b/2.webp.jpg'}
    code, _ = resize(capsys, root, target, '--short', 8)
    assert 'was made with other settings' in code and '"short": 16' in code


def test_resize_leaves_out_what_it_wrote_under_another_name(tmp_path, capsys):
    write(tmp_path / 'x/a.png', blocks())
    for name, short in (('small', 16), ('tiny', 8)):
        code, out = resize(capsys, tmp_path / 'x', tmp_path / 'x' / name,
                         '--short', short)
        assert code == 0 and '1 of 1 images in' in out
    assert [path.name for path in (tmp_path / 'x/tiny').rglob('*.*')] == ['a.png.jpg']


def test_resize_encodes_nothing_twice(tmp_path, capsys):
    write(tmp_path / 'x/big.jpg', blocks(), quality=95)
    write(tmp_path / 'x/turned.jpg', blocks(rows=2, columns=2), quality=95, exif=turned(6))
    resize(capsys, tmp_path / 'x', tmp_path / 'y', '--short', 16)
    code, _ = resize(capsys, tmp_path / 'y', tmp_path / 'z', '--short', 16)
    assert code == 0
    for name in ('big.jpg', 'turned.jpg'):
        assert (tmp_path / 'y' / name).read_bytes() == (tmp_path / 'z' / name).read_bytes()
        assert (tmp_path / 'x' / name).read_bytes() != (tmp_path / 'y' / name).read_bytes()
    right = UPRIGHT[6](blocks(rows=2, columns=2)).astype(int)
    assert abs(read_rgb(tmp_path / 'y/turned.jpg') - right).mean() < 12


def test_resize_loses_no_image_to_a_name(tmp_path, capsys):
    write(tmp_path / 'x/a.png', blocks())
    write(tmp_path / 'x/a.png.jpg', blocks(1))
    code, _ = resize(capsys, tmp_path / 'x', tmp_path / 'y')
    assert 'x/a.png and' in code and 'x/a.png.jpg would get the same name, a.png.jpg' in code
    assert not (tmp_path / 'y').exists()


def test_resize_scales_deep_data_by_the_range(tmp_path, capsys):
    values = np.full((16, 16), 400, np.uint16)
    write(tmp_path / 'x/a.tif', values)
    code, out = resize(capsys, tmp_path / 'x', tmp_path / 'y')
    assert code == 1 and '1 unreadable' in out and 'Set value_range' in out
    code, _ = resize(capsys, tmp_path / 'x', tmp_path / 'z', '--value-range', 0,
                   800)
    assert code == 0 and abs(read_rgb(tmp_path / 'z/a.tif.jpg').astype(int) - 128).max() <= 1
