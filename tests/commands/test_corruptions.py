"""mmwamim corruptions: a small ImageNet-C."""
import json

import numpy as np
import pytest
from PIL import Image

from mmwamim.commands import corruptions as command
from mmwamim.commands.main import main
from mmwamim.datasets.loading import read_rgb
from mmwamim.evaluation import robustness as R
from tests.datasets.test_pixels import UPRIGHT, blocks
from tests.support.small_data import turned, write, write_classes


def test_make_corruptions(tmp_path, capsys):
    pytest.importorskip('imagecorruptions')
    write_classes(tmp_path / 'images', ['n01440764'], 2, 100, 7)
    words = ['corruptions', str(tmp_path / 'images'), str(tmp_path / 'C'), '--size', '32',
             '--per-class', '1']
    main(words)
    assert '75 files written' in capsys.readouterr().out
    files = sorted((tmp_path / 'C').glob('*/*/*/*.JPEG'))
    assert {path.relative_to(tmp_path / 'C').parts for path in files} == {
        (name, str(s), 'n01440764', '0.JPEG') for name in R.CORRUPTIONS for s in R.SEVERITIES}
    contents = [path.read_bytes() for path in files]
    assert len(set(contents)) == 75 and Image.open(files[0]).size == (32, 32)
    # What is missing is made again, the same from every point of departure.
    for path in files[::7]:
        path.unlink()
    np.random.seed(99)
    main(words)
    assert '11 files written' in capsys.readouterr().out
    assert [path.read_bytes() for path in files] == contents
    with pytest.raises(SystemExit, match='made with other settings'):
        main([*words, '--seed', '1'])
    with pytest.raises(SystemExit, match='no class folders'):
        main(['corruptions', str(tmp_path), str(tmp_path / 'D')])


def test_corruptions_are_of_upright_pictures(tmp_path, capsys, monkeypatch):
    stored = np.asarray(Image.fromarray(blocks()).resize((120, 80), Image.NEAREST))
    write(tmp_path / 'x/c/plain.png', UPRIGHT[6](stored))
    write(tmp_path / 'x/c/photo.jpg', stored, exif=turned(6), quality=100, subsampling=0)
    ours = command.crop_centre(read_rgb(tmp_path / 'x/c/photo.jpg'), 64).astype(int)
    plain = command.crop_centre(read_rgb(tmp_path / 'x/c/plain.png'), 64)
    assert abs(ours - plain).mean() < 3
    (tmp_path / 'x/c/broken.jpg').write_bytes(b'nothing')
    (tmp_path / 'x/d').symlink_to(tmp_path / 'x/c')
    monkeypatch.setattr(command, 'corrupt', lambda image, *settings: image)
    with pytest.raises(SystemExit, match='1'):
        main(['corruptions', str(tmp_path / 'x'), str(tmp_path / 'C'), '--size', '64'])
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
        command.find_images(str(tmp_path), None)


def test_of_a_folder_with_splits_the_one_for_validation_is_taken(tmp_path, capsys):
    write(tmp_path / 'train/c/a.png', blocks())
    write(tmp_path / 'val/c/b.png', blocks())
    _, names, rows = command.find_images(str(tmp_path), None)
    assert (list(names), rows) == (['c/b'], [0])
    assert 'val' in capsys.readouterr().out
