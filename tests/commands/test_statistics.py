"""Mean and deviation against NumPy's of all pixels at once."""
import numpy as np
import pytest
from PIL import Image

from mmwamim.commands import statistics as command
from mmwamim.commands.main import main
from mmwamim.errors import UserError


class Files:
    def __init__(self, paths):
        self.paths = paths

    def key(self, row):
        return str(self.paths[row])

    def read(self, row):
        return None


@pytest.mark.parametrize('channels', [None, 12])
def test_blocks_join_to_the_whole(tmp_path, channels):
    rng, images, paths = np.random.default_rng(0), [], []
    for i in range(7):
        height, width = rng.integers(3, 20, 2)
        image = rng.integers(0, 256, (height, width, channels or 3), dtype=np.uint8)
        paths.append(tmp_path / f'{i}.{"npy" if channels else "png"}')
        if channels:
            image = image.astype(np.float32) + 1e4  # far from 0, where squares would cancel
            np.save(paths[-1], image)
        else:
            Image.fromarray(image).save(paths[-1])
        images.append(image.reshape(-1, image.shape[2]).astype(np.float64))
    paths.append(tmp_path / 'damaged.png')
    paths[-1].write_bytes(b'nothing')
    blocks = [command.measure(rows, Files(paths), channels, None)
              for rows in ([0, 1, 2], [3, 4, 5, 6], [7])]
    assert len(blocks[2]['faults']) == 1 and 'damaged.png' in blocks[2]['faults'][0]
    whole = np.concatenate(images)
    names = dict(dict=dict)
    made = command.Statistics(7, *command.mean_and_deviation(blocks), [], channels, tmp_path)
    exec(made.config, names)
    found = names['data_preprocessor']
    assert np.allclose(found['mean'], whole.mean(0), rtol=1e-5)
    assert np.allclose(found['std'], whole.std(0), rtol=1e-5)
    assert found['to_rgb'] == (channels is None) and names.get('channels') == channels


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch, capsys):
    for i in range(5):
        Image.new('RGB', (4, 4), (i * 10, 7, 9)).save(tmp_path / f'{i}.png')
    report = tmp_path / 'report.jsonl'
    monkeypatch.setattr(command, 'BLOCK', 2)
    words = ['statistics', str(tmp_path), '--report', str(report), '--workers', '1']
    main(words)
    first = capsys.readouterr()
    lines = report.read_text().splitlines()
    assert len(lines) == 3 and 'mean=[20.0, 7.0, 9.0]' in first.out
    assert 'channels [1, 2] have one value alone' in first.err
    report.write_text('\n'.join(lines[:2]) + '\n' + lines[2][:20])  # cut off while it was written
    main(words)
    second = capsys.readouterr()
    assert second.out == first.out and '1/1 blocks' in second.err


def test_what_cannot_be_measured_is_named(tmp_path, capsys):
    (tmp_path / 'x').mkdir()
    (tmp_path / 'x/broken.jpg').write_bytes(b'nothing')
    given = dict(report=tmp_path / 'report.jsonl', workers=1)
    with pytest.raises(UserError, match='no image could be read'):
        command.statistics(tmp_path / 'x', **given)
    assert 'broken.jpg' in capsys.readouterr().err
    Image.new('RGB', (4, 4), (10, 7, 9)).save(tmp_path / 'x/grey.png')
    found = command.statistics(tmp_path / 'x', **given)
    assert (found.images, found.mean, found.std) == (1, [10., 7., 9.], [0., 0., 0.])
    assert len(found.unreadable) == 1 and 'broken.jpg' in found.unreadable[0]
    with pytest.raises(UserError, match='images must be at least 1'):
        command.statistics(tmp_path / 'x', images=0, **given)
