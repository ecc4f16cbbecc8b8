"""Places for results and devices that cannot be used are named before any work is done."""
import errno
import os
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import mmwamim
from mmwamim.commands.calls import Run
from mmwamim.commands.check import check as find_unreadable
from mmwamim.commands.fields import parse_fields
from mmwamim.commands.show import show
from mmwamim.commands.test import evaluate
from mmwamim.engine.checkpoints.writing import write_atomically
from mmwamim.engine.config.settle import RunOptions
from mmwamim.errors import UserError, told_in_one_line
from mmwamim.interface.outputs import check_output_file, check_output_folder
from mmwamim.machine.devices import check_device
from tests.support.commands import QUICK
from tests.support.models import noise, save_encoder


def test_paths_that_calls_give_back_last(tmp_path, monkeypatch):
    """However a place was named, and wherever the caller goes after the call."""
    monkeypatch.chdir(tmp_path)
    save_encoder('encoder.pth', QUICK)
    (tmp_path / 'images').mkdir()
    Image.fromarray(noise(70, 70, 3).byte().numpy()).save('images/a.png')
    exported = mmwamim.export('encoder.pth', 'timm', 'x.pth')
    paths = [exported.path, exported.card,
             mmwamim.embed('encoder.pth', 'images', out='f.npz', workers=0).file,
             mmwamim.resize('images', 'smaller', short=32, workers=1).folder,
             mmwamim.statistics('images', report='s.json', workers=1).report,
             find_unreadable('images', report='c.jsonl', workers=1).report,
             *show('images/a.png', out='a.png')]
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert len(paths) == 7 and all(path.exists() for path in paths)
    assert eval(exported.how_to_load, dict(timm=timm)).num_classes == 0
    pretrain = import_module('mmwamim.commands.pretrain')
    monkeypatch.setattr(pretrain, 'train', lambda options: None)
    monkeypatch.setattr(pretrain, 'result_of', lambda runner, draw: Run(
        Path('a'), None, Path('b'), Path('c'), pictures=(Path('d'), ), metrics=dict(loss=1.)))
    kept = mmwamim.pretrain(tmp_path / 'images', epochs=1, batch_size=1, workers=0)
    assert kept.pictures == (Path.cwd() / 'd', ) and kept.checkpoint is None
    assert kept.folder == Path.cwd() / 'a' and kept.metrics == dict(loss=1.)


def test_home_is_meant_by_its_sign(tmp_path, monkeypatch):
    """A shell leaves it in --out=~/runs, and Python everywhere."""
    home = tmp_path / 'home'
    (home / 'my photos ü').mkdir(parents=True)
    (tmp_path / 'here').mkdir()
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.chdir(tmp_path / 'here')
    save_encoder(home / 'encoder.pth', QUICK)
    Image.fromarray(noise(70, 70, 3).byte().numpy()).save(home / 'my photos ü/a.png')
    encoder = mmwamim.load_encoder('~/encoder.pth')
    found = encoder.embed(['~/my photos ü/a.png'])
    for given in ('~/my photos ü/', Path('~/my photos ü')):
        whole = mmwamim.embed('~/encoder.pth', given, out='~/f.npz', workers=0)
        np.testing.assert_allclose(whole.features, found, atol=1e-6)
        assert whole.file == home / 'f.npz' and whole.file.is_file()
    assert mmwamim.export(Path('~/encoder.pth'), 'timm', '~/x.pth').path == home / 'x.pth'
    assert RunOptions('~/a.py', work_dir='~/runs', pretrained='none', init='~/encoder.pth'
                      ) == RunOptions(f'{home}/a.py', work_dir=f'{home}/runs', pretrained='none',
                                      init=f'{home}/encoder.pth')
    assert not list(Path.cwd().iterdir())


def test_places_that_cannot_be_written(tmp_path):
    file = tmp_path / 'file'
    file.write_text('kept')
    for check, path, message in (
            (check_output_folder, file, 'is a file: give a folder'),
            (check_output_folder, file / 'below', 'Not a directory'),
            (check_output_file, tmp_path, 'is a folder: give a file'),
            (check_output_file, '/proc/x.json', 'cannot write to the folder')):
        with pytest.raises(UserError, match=message):
            check(path)
    check_output_file(tmp_path / 'new' / 'a.json')
    check_output_file(file)
    assert file.read_text() == 'kept' and os.listdir(tmp_path / 'new') == []


def test_what_the_system_refuses_is_one_line_with_the_path(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as fsync says it, without a path

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(SystemExit) as caught, told_in_one_line():
        write_atomically(b'x', tmp_path / 'epoch_1.pth')
    assert caught.value.code == f"error: '{tmp_path}/epoch_1.pth': No space left on device"
    assert os.listdir(tmp_path) == []
    with pytest.raises(OSError, match='words of its own'), told_in_one_line():
        raise OSError('words of its own')  # of another package: keeps its traceback


def test_results_that_could_not_be_written_after_a_test(tmp_path):
    """MMEngine finds an ending that it does not write when everything is computed."""
    for item, name, message in (('pred', 'a.json', '=.pred. must end with .pkl or .pickle, not'),
                                ('metrics', 'a.txt', '=.metrics. must end with .json or .yaml')):
        with pytest.raises(UserError, match=message):
            evaluate('nowhere.py', 'nowhere.pth', out=tmp_path / name, out_item=item)
    with pytest.raises(UserError, match='is a folder: give a file'):
        (tmp_path / 'x.json').mkdir()
        evaluate('nowhere.py', 'nowhere.pth', out=tmp_path / 'x.json', out_item='metrics')


def test_options_and_devices():
    with pytest.raises(UserError, match='epochs is no field of the config.*: --epochs 3'):
        parse_fields(['epochs=3'], ('epochs', ))
    for name in ('tpu9', 'cuda:99', 'meta', 'xla'):
        with pytest.raises(UserError, match='device'):
            check_device(name)
    assert check_device('cpu') == torch.device('cpu')
    for wrong, message in (
            (dict(epochs=0), '^epochs must be at least 1, not 0'),
            (dict(batch_size=-1), '^batch_size must be at least 1, not -1'),
            (dict(workers=-1), '^workers must be at least 0, not -1'),
            (dict(epochs=1.5), '^epochs must be an integer, not 1.5')):
        with pytest.raises(UserError, match=message):
            mmwamim.pretrain('nothing', **wrong)


def test_an_encoder_says_what_it_takes(tmp_path):
    save_encoder(tmp_path / 'encoder.pth', 'configs/quickstart/vit_tiny_pretrain.py')
    encoder = mmwamim.load_encoder(tmp_path / 'encoder.pth')
    for images in (torch.zeros(3, 64, 64), torch.zeros(1, 1, 64, 64), torch.zeros(0, 3, 64, 64),
                   torch.zeros(1, 3, 64, 64, dtype=torch.uint8), np.zeros((1, 3, 64, 64))):
        with pytest.raises(UserError, match=r'takes normalised floats \(B, 3, H, W\), not'):
            encoder(images)
    for pixels in (np.zeros((0, 4, 3), np.uint8), torch.zeros(3, 0, 0)):
        with pytest.raises(UserError, match='there is no pixel'):
            encoder.preprocess(pixels)
    with pytest.raises(UserError, match='give a file, a list of files or a folder, not int;'):
        encoder.embed(5)
    with pytest.raises(UserError, match='batch_size must be an integer of at least 1, not 0'):
        encoder.embed('x.png', batch_size=0)


def test_levels_deeper_than_an_image_are_refused_at_once(tmp_path):
    from PIL import Image
    Image.new('RGB', (48, 40)).save(tmp_path / 'a.png')
    with pytest.raises(UserError, match='level must be at most 6 for this image, not 99'):
        show(tmp_path / 'a.png', level=99)


def test_nothing_to_show_and_places_for_pictures(tmp_path):
    from PIL import Image
    Image.new('RGB', (48, 40)).save(tmp_path / 'a.png')
    with pytest.raises(UserError, match='name a run, a checkpoint or an image'):
        show([])
    with pytest.raises(UserError, match='is a file: give a folder'):
        show(tmp_path, out=tmp_path / 'a.png')
    with pytest.raises(UserError, match='is a folder: give a file'):
        show(tmp_path / 'a.png', out=tmp_path)
    (tmp_path / 'data/a').mkdir(parents=True)
    Image.new('RGB', (48, 40)).save(tmp_path / 'data/a/a.PNG')
    with pytest.raises(UserError, match='data. holds images .* of the run, with images=.*data.;'):
        show(tmp_path / 'data')
    (tmp_path / 'data/2026/vis_data').mkdir(parents=True)  # a run that has not logged yet
    with pytest.raises(FileNotFoundError, match='no log found'):
        show(tmp_path / 'data')
