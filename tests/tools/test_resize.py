import runpy
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import ROOT


def resize(*arguments):
    return subprocess.run([sys.executable, '-W', 'ignore', 'tools/data/resize.py',
                           *map(str, arguments), '--workers', '2'], cwd=ROOT,
                          capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / 'from'
    for name, size in (('a/wide.jpg', (300, 200)), ('a/tall.png', (200, 500)),
                       ('b/small.JPEG', (60, 50)), ('b/tall.jpg', (100, 101))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        small.resize(size, Image.BICUBIC).save(root / name)
    (root / 'b/broken.jpg').write_bytes(b'\xff\xd8\xff\xe0nothing')
    (root / 'notes.txt').write_text('not an image')
    return root


def test_same_layout_smaller_and_resumable(folder, tmp_path):
    target = tmp_path / 'to'
    done = resize(folder, target, '--short', 100)
    assert done.returncode == 1 and 'broken.jpg' in done.stdout
    assert '4 of 5 images' in done.stdout and '1 unreadable' in done.stdout
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
    done = resize(folder, target, '--short', 100)
    assert done.returncode == 0 and '4 of 4 images' in done.stdout
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == {'wide.jpg'}


def test_errors_are_named(folder, tmp_path):
    assert "'/none' is not a folder" in resize('/none', tmp_path).stderr
    assert 'must differ' in resize(folder, folder).stderr
    assert '--short' in resize(folder, tmp_path / 'to', '--short', 0).stderr
    (tmp_path / 'empty').mkdir()
    assert 'no image' in resize(tmp_path / 'empty', tmp_path / 'to').stderr
    (folder / 'a/tall.png.jpg').write_bytes(b'x')
    assert 'same name' in resize(folder, tmp_path / 'to').stderr


def test_loader_benchmark_prints_every_path(folder):
    (folder / 'b/broken.jpg').unlink()
    done = subprocess.run([sys.executable, '-W', 'ignore', 'tools/benchmark/loader.py',
                           str(folder), '--images', '4', '--rounds', '1'], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('images/s (') == 8 and "mmpretrain's default" in done.stdout
    assert '1 workers: first batch after ' in done.stdout and ' MiB\n' in done.stdout


def test_loader_benchmark_reads_other_places(folder, monkeypatch, capsys):
    with tarfile.open(folder / 'x.tar', 'w') as shard:
        shard.add(folder / 'a/wide.jpg', 'wide.jpg')
    monkeypatch.setattr('sys.argv', ['x', str(folder / 'x.tar'), '--images', '1', '--rounds', '1',
                                     '--workers', '0', '--paths', 'ours', "mmpretrain's default"])
    runpy.run_path(str(ROOT / 'tools/benchmark/loader.py'), run_name='__main__')
    printed = capsys.readouterr().out
    assert 'in 1 tar shards of' in printed and printed.count('images/s (') == 1
