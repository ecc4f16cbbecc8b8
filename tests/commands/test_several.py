"""``--gpus N``: processes of this machine, here on the CPU, that make one call together."""
import copy
import os
import re
import signal
import threading
import time

import pytest
import torch

import mmwamim
from mmwamim.commands import several
from mmwamim.commands.main import main
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.errors import Preempted, UserError
from tests.commands.conftest import SMALL
from tests.support.small_data import make_images


def train(images, out, **more):
    return mmwamim.pretrain(images, arch='vit_tiny', epochs=2, workers=0, out=out, pictures=False,
                            gpus=2, **copy.deepcopy(SMALL), **more)


@pytest.mark.parametrize('gpus, message', [
    (4, '^4 GPUs were asked for, but this machine has 2$'),
    (0, '^gpus must be at least 1, not 0$'),
    (True, '^gpus must be an integer, not True$'), ('2', '^gpus must be an integer, not .2.$')])
def test_what_cannot_be_is_told_before_anything_starts(gpus, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(several, 'run_processes', None)
    with pytest.raises(UserError, match=message):
        mmwamim.pretrain('nowhere', gpus=gpus)


def test_more_processes_than_the_cpu_holds_are_not_started(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(several, 'granted_cores', lambda: 2)
    monkeypatch.setattr(several, 'run_processes', None)
    with pytest.raises(UserError, match='^gpus=9: this machine has no GPU, and 2 cores: 8 proc'):
        mmwamim.pretrain('nowhere', gpus=9)
    several.check_gpus(8)
    monkeypatch.setattr(several, 'granted_cores', lambda: 96)
    several.check_gpus(96)


@pytest.mark.parametrize('words', [
    ['pretrain', 'nowhere'], ['finetune', 'no.pth', 'nowhere'], ['probe', 'no.pth', 'nowhere'],
    ['train', 'vit_b_400e'], ['test', 'no.py', 'no.pth']])
def test_every_command_that_can_takes_it(words, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(SystemExit) as stop:
        main([*words, '--gpus', '3'])
    assert stop.value.code == 'error: 3 GPUs were asked for, but this machine has 2'
    with pytest.raises(SystemExit) as stop:
        main([*words, '--gpus', '2', '--launcher', 'slurm'])
    assert 'leave out --launcher slurm' in stop.value.code


def test_one_is_this_process(monkeypatch):
    monkeypatch.setattr(several, 'run_processes', None)
    with pytest.raises(UserError, match="'nowhere' is not a folder, nor anything else"):
        mmwamim.pretrain('nowhere', gpus=1)


@pytest.fixture(scope='module')
def two(images, tmp_path_factory):
    return train(images, tmp_path_factory.mktemp('two') / 'run')


def test_they_share_the_images(two):
    log = two.log.read_text()
    # 12 images, shared by two, and no fewer than 8 of them in a step if there are as many.
    assert re.search(r'batch +12 = 6 images x 2 processes', log)
    assert log.count('Epoch(train)') == 2 and two.encoder.is_file()
    assert two.metrics['loss'] > 0 and two.checkpoint.name == 'epoch_2.pth'


def stop_at_the_first_line(work):
    """Sends SIGTERM to this process when a run has logged a step."""
    while not any('Epoch(train)' in path.read_text() for path in work.glob('*/*.log')):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_has_them_save_together_and_they_go_on(tmp_path):
    images = make_images(tmp_path / 'images', 40)
    handler = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=stop_at_the_first_line, args=(tmp_path / 'run', ), daemon=True).start()
    with pytest.raises(Preempted) as stopped:
        train(images, tmp_path / 'run', batch_size=1)
    assert stopped.value.path == tmp_path / 'run/preempted.pth'
    assert signal.getsignal(signal.SIGTERM) is handler
    step = read_checkpoint(stopped.value.path)['meta']['iter']
    assert 1 <= step < 40
    run = train(images, tmp_path / 'run', batch_size=1, resume=True)
    first, *_ = lines = re.findall(r'Epoch\(train\) +\[(\d)\]\[ *(\d+)/20\]', run.log.read_text())
    assert first == (str(step // 20 + 1), str(step % 20 + 1)) and len(lines) == 40 - step
    assert read_checkpoint(run.checkpoint)['meta']['iter'] == 40


def test_probe_shares_out_the_images_and_mistakes_come_back(pretrained, tmp_path, capsys):
    for name in 'ab':
        make_images(tmp_path / 'pets' / name, 10, 32)
    given = dict(k=(3, ), workers=0)
    alone = mmwamim.probe(pretrained.encoder, tmp_path / 'pets', **given)
    capsys.readouterr()
    assert mmwamim.probe(pretrained.encoder, tmp_path / 'pets', gpus=2, **given) == alone
    told = capsys.readouterr().out
    assert told.count('20% of each class') == 3 and '8/8 images' in told
    with pytest.raises(UserError, match='has no folder for the split'):
        mmwamim.probe(pretrained.encoder, tmp_path / 'pets', gpus=2, val='other', **given)
