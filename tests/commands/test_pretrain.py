"""mmwamim.pretrain as a call: what it writes, and that it leaves the process as it found it."""
import copy
import io
import logging
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import VISBACKENDS, DefaultScope
from mmengine.visualization import LocalVisBackend

import mmwamim
from mmwamim.commands import automatic, pretrain
from mmwamim.commands.calls import Run, as_a_call
from mmwamim.commands.fields import flatten
from mmwamim.commands.results import what_next
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.export.programs import load_encoder
from mmwamim.engine.training import cpu
from mmwamim.engine.work_dir import alone_in
from mmwamim.errors import Preempted, UserError
from mmwamim.models import WaMIM
from mmwamim.visualization import read_scalars
from tests.commands.conftest import SMALL


def again(images, out, workers=0, **more):
    return mmwamim.pretrain(data=images, arch='vit_tiny', epochs=2, workers=workers, batch_size=4,
                            out=out, **copy.deepcopy(SMALL), **more)


def test_everything_is_written(pretrained):
    for path in (pretrained.encoder, pretrained.checkpoint, pretrained.log, pretrained.config,
                 *pretrained.pictures):
        assert path.is_file() and path.stat().st_size > 500, path
    assert [path.name for path in pretrained.pictures] == ['loss_curve.png', 'reconstruction.png']
    assert pretrained.checkpoint.name == 'epoch_2.pth'
    state = read_checkpoint(pretrained.checkpoint)['state_dict']
    encoder = load_encoder(pretrained.encoder).state_dict()
    assert len(encoder) > 40
    for name, value in encoder.items():
        assert torch.equal(value, state[f'backbone.{name}']), name
    # 12 images by fours, two epochs; every step was logged, with the mean of its levels' sum.
    text = pretrained.log.read_text()
    assert text.count('Epoch(train)') == 6 and 'paramwise' in text
    levels = sum(value for name, value in pretrained.metrics.items() if name.startswith('loss_'))
    assert pretrained.metrics['loss'] == pytest.approx(levels, rel=1e-4)


def test_what_was_not_given_follows_from_the_images(pretrained):
    cfg = Config.fromfile(pretrained.config)
    assert cfg.model.backbone.img_size == 32 and cfg.model.backbone.patch_size == 4
    assert cfg.train_dataloader.dataset.pipeline[1].size == 32 and cfg.model.mask_unit == 4
    # A short run: the rate of the trials, 1e-3 for 32 images, by the square root for 4.
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1e-3 * (4 / 32)**0.5, rel=2e-3)
    assert not cfg.auto_scale_lr.enable and cfg.train_cfg.max_epochs == 2


def scopes_by_name():
    """MMEngine restores copies of those that were there before."""
    return {name: scope.scope_name for name, scope in DefaultScope._instance_dict.items()}


def test_a_second_run_from_a_thread_is_the_same_and_leaves_nothing_behind(
        pretrained, images, tmp_path, capsys):
    def mine(number, frame):
        raise AssertionError('nobody sends a signal here')

    before = {number: signal.signal(number, mine) for number in (signal.SIGTERM, signal.SIGUSR1)}
    linear, scopes = F.linear, scopes_by_name()
    runs = {}
    try:
        thread = threading.Thread(
            target=lambda: runs.update(thread=again(images, tmp_path / 'thread')))
        thread.start()
        thread.join()
        runs['main'] = again(images, tmp_path / 'main', pictures=False)
        assert {signal.getsignal(number) for number in before} == {mine}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert F.linear is linear and scopes_by_name() == scopes
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for name, run in runs.items():
        assert run.metrics['loss'] == pretrained.metrics['loss'], name
        # Neither logs into the file of another, nor takes over its history.
        assert run.log.read_text().count('Epoch(train)') == 6
        ours, first = (read_checkpoint(one.encoder)['state_dict'] for one in (run, pretrained))
        assert all(torch.equal(ours[key], first[key]) for key in first)
    assert runs['main'].pictures == ()
    # The terminal gets what a user looks for.
    out = capsys.readouterr().out
    assert 'image size' in out and 'Epoch(train)' in out and 'This run:' in out
    assert 'Hooks will be executed' not in out and 'after_val_epoch' not in out


def settings():
    """Of the process, by name."""
    return dict(
        python=random.getstate(), numpy=[str(part) for part in np.random.get_state()],
        torch=torch.get_rng_state().tolist(), threads=torch.get_num_threads(),
        opencv=cv2.getNumThreads(), cudnn=torch.backends.cudnn.benchmark,
        strict=torch.are_deterministic_algorithms_enabled(), folder=os.getcwd(),
        environment=dict(os.environ), filters=list(warnings.filters),
        handlers=list(logging.root.handlers), level=logging.root.level,
        dtype=torch.get_default_dtype(), backend=matplotlib.get_backend(),
        workers=multiprocessing.active_children(),
        signals=[signal.getsignal(number) for number in signal.valid_signals()
                 if number != signal.SIGCHLD],  # to which torch listens from the first loader on
        current=[kind.get_current_instance() for kind in (MMLogger, MessageHub)],
        logs=[path for path in map(os.path.realpath, Path('/proc/self/fd').iterdir())
              if path.endswith('.log')])


def test_calls_leave_the_process_as_it_was(images, tmp_path, monkeypatch):
    monkeypatch.setattr(automatic, 'pretraining_memory', lambda cfg: (1, 1))
    threads, benchmark = cv2.getNumThreads(), torch.backends.cudnn.benchmark
    cv2.setNumThreads(3)
    torch.backends.cudnn.benchmark = False
    before, seeds = settings(), []
    given = {'env_cfg.cudnn_benchmark': True, 'randomness.seed': None,
             'randomness.deterministic': True, 'workers': 1}
    try:
        for place in 'ab':
            run = again(images, tmp_path / place, pictures=False, **given)
            assert settings() == before
            seeds.append(re.search(r'seed +(\d+)', run.log.read_text())[1])
        mmwamim.load_encoder(run.encoder)  # draws weights first
        assert settings() == before and seeds[0] != seeds[1]

        loss = WaMIM.loss

        def asked_to_stop(self, *given):
            os.kill(os.getpid(), signal.SIGUSR1)
            return loss(self, *given)
        for place, error, step in (('c', Preempted, asked_to_stop),
                                   ('d', ZeroDivisionError, lambda *given: 1 / 0)):
            monkeypatch.setattr(WaMIM, 'loss', step)
            with pytest.raises(error):
                again(images, tmp_path / place, **given)
            assert settings() == before
    finally:
        cv2.setNumThreads(threads)
        torch.backends.cudnn.benchmark = benchmark


def test_a_run_goes_on_with_what_was_settled(pretrained, images, tmp_path):
    run = again(images, tmp_path / 'run', pictures=False)
    lines = run.config.read_text()
    longer = mmwamim.pretrain(data=images, arch='vit_tiny', epochs=3, workers=0, pictures=False,
                              out=tmp_path / 'run', resume=True)
    assert longer.checkpoint.name == 'epoch_3.pth'
    assert longer.log.read_text().count('Epoch(train)') == 3
    cfg, before = Config.fromfile(longer.config), Config.fromstring(lines, '.py')
    assert cfg.model == before.model and cfg.optim_wrapper == before.optim_wrapper
    # An option is used or refused, here as by the first run.
    with pytest.raises(UserError, match='cannot resume from .* another work directory'):
        mmwamim.pretrain(data=images, arch='vit_tiny', epochs=4, workers=0, pictures=False,
                         out=tmp_path / 'run', resume=True, image_size=64)


def test_a_length_counts_however_it_is_given(images):
    """--epochs 2 and train_cfg.max_epochs=2 settle the same learning rate and checkpoints."""
    rest = dict(column=None, arch='vit_tiny', out=None, init=None, image_size=32, batch_size=4,
                workers=0, resume=False, amp=False, compile=None, launcher='none', log=None)
    found = [pretrain.settle_options(images, epochs=epochs, fields={**flatten(SMALL), **more},
                                     **copy.deepcopy(rest)).cfg_options
             for epochs, more in ((50, {}), (None, {'train_cfg.max_epochs': 50}))]
    assert found[1].pop('train_cfg.max_epochs') == 50 and found[0] == found[1]
    assert found[0]['default_hooks.checkpoint.interval'] == 3
    assert found[0]['optim_wrapper.optimizer.lr'] == pytest.approx(1e-3 * (4 / 32)**0.5, rel=2e-3)


def test_a_run_begins_with_the_weights_of_another(pretrained, images, tmp_path):
    still = {'optim_wrapper.optimizer.lr': 0., 'randomness.seed': 5}
    run = again(images, tmp_path / 'run', init=pretrained.encoder, pictures=False, **still)
    ours, theirs = (read_checkpoint(one.encoder)['state_dict'] for one in (run, pretrained))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert f'Encoder from {pretrained.encoder}' in run.log.read_text()
    for init, message in (('no.pth', 'no.pth'), (pretrained.encoder, 'set arch of model.backbone')):
        wide = {'model.backbone.arch': dict(SMALL['model.backbone.arch'], embed_dims=64)}
        with pytest.raises(UserError, match=message):
            mmwamim.pretrain(**{**copy.deepcopy(SMALL), **wide}, data=images, arch='vit_tiny',
                             epochs=1, out=tmp_path / 'wide', batch_size=4, workers=0, init=init)


def test_a_run_that_goes_on_keeps_its_own_weights(pretrained, images, tmp_path, capsys):
    """--init is for a run that begins; the file may be gone when one goes on."""
    source, out = tmp_path / 'source.pth', tmp_path / 'run'
    shutil.copy(pretrained.encoder, source)
    fields = dict(init=source, resume=True, pictures=False, **{'optim_wrapper.optimizer.lr': 0.})
    first = again(images, out, **fields)  # nothing to resume from
    assert f'Encoder weights loaded from {source}: ' in first.log.read_text()
    assert f'no checkpoint in {out}' in capsys.readouterr().out
    state = read_checkpoint(first.encoder)['state_dict']
    source.unlink()
    longer = mmwamim.pretrain(data=images, arch='vit_tiny', epochs=3, workers=0, out=out, **fields)
    assert f"init='{source}' is not used: the run goes on" in capsys.readouterr().out
    assert longer.checkpoint.name == 'epoch_3.pth'
    ours = read_checkpoint(longer.encoder)['state_dict']
    assert all(torch.equal(ours[name], state[name]) for name in state)


def test_a_run_that_goes_on_is_left_alone(images, tmp_path):
    part = tmp_path / '.epoch_9.pth.0123456789ab'  # is just being written
    part.touch()
    for resume in (False, True):
        with alone_in(tmp_path), pytest.raises(UserError, match='a run is going on in '):
            again(images, tmp_path, resume=resume)
    assert part.is_file()


def test_calls_of_other_threads_wait_but_not_for_a_run(pretrained, images, tmp_path):
    said = []

    def ask():
        with as_a_call():
            said.append('after')

    with as_a_call():
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(0.3)
        said.append('before')
    thread.join()
    assert said == ['before', 'after']

    def train():
        with pytest.raises(UserError, match='a run is going on in another thread'):
            again(images, tmp_path)
        said.append('refused')

        with pytest.raises(UserError, match='a run is going on in another thread'):
            mmwamim.load_encoder(pretrained.encoder)  # draws random numbers, as the run does

    with as_a_call(trains=True), as_a_call():
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    assert said[-1] == 'refused' and not list(tmp_path.iterdir())
    ask()
    assert said[-1] == 'after'


@VISBACKENDS.register_module()
class JsonVisBackend(LocalVisBackend):
    """One more logger, which needs a library that is there."""
    rows = []

    def add_scalars(self, scalar_dict, step=0, file_path=None, **_):
        self.rows.append((step, scalar_dict['loss']))


def test_a_logger_beside_the_local_one_gets_every_loss(images, tmp_path):
    JsonVisBackend.rows.clear()
    run = again(images, tmp_path, log='json')
    losses = [(row['step'], row['loss']) for row in read_scalars(run.folder)]
    assert len(losses) == 6 and JsonVisBackend.rows == losses
    assert run.pictures[0].name == 'loss_curve.png'


def no_thread_is_left(before):
    deadline = time.time() + 5  # a thread that was told to end takes a moment
    while threading.active_count() > before and time.time() < deadline:
        time.sleep(0.01)
    return threading.active_count() == before


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_live_line_and_the_file_everything(images, tmp_path, monkeypatch):
    screen, threads = Terminal(), threading.active_count()
    monkeypatch.setattr(sys, 'stdout', screen)
    monkeypatch.setenv('COLUMNS', '140')
    monkeypatch.setenv('TERM', 'xterm')
    run = again(images, tmp_path, pictures=False)
    assert sys.stdout is screen and no_thread_is_left(threads)
    text = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', screen.getvalue())
    last = [line for line in re.split('[\r\n]', text) if 'epoch 2/2' in line][-1]
    found = re.search(r'epoch 2/2  (\S+) images/s  waiting (\d+)%  loss (\S+)  explained (-?\d+)%  '
                      r'(\S+) GiB', last)
    losses = [float(loss) for loss in re.findall(r'Epoch\(train\).*? loss: (\S+)',
                                                 run.log.read_text())]
    assert len(losses) == 6 and 'Epoch(train)' not in text and 'This run:' in text
    assert float(found[3]) == pytest.approx(losses[-1], rel=1e-3)  # the mean of the last ten
    assert float(found[1]) > 0 and 0 <= int(found[2]) <= 100 and float(found[5]) > 0.05


def test_a_run_that_fails_leaves_nothing_behind_either(images, tmp_path, monkeypatch):
    linear, handler = F.linear, signal.getsignal(signal.SIGTERM)
    with pytest.raises(UserError, match='harr'):
        again(images, tmp_path / 'a', **{'model.target_generator.wavelet': 'harr'})

    def fail(*args):
        raise RuntimeError('in the middle of a step')

    screen, threads = Terminal(), threading.active_count()
    monkeypatch.setattr(sys, 'stdout', screen)
    monkeypatch.setattr(WaMIM, 'loss', fail)
    monkeypatch.setattr(automatic, 'pretraining_memory', lambda cfg: (1, 1))
    monkeypatch.setattr(cpu, 'onednn_is_faster', lambda: True)  # linear layers are switched
    with pytest.raises(RuntimeError, match='in the middle of a step'):
        again(images, tmp_path / 'b')
    assert sys.stdout is screen and no_thread_is_left(threads)
    assert F.linear is linear and signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize('given, message', [
    (dict(data='nowhere'), "'nowhere' is not a folder, nor anything else that is there: exp"),
    (dict(arch='vit_x'), "there is no encoder 'vit_x': give one of swin_b, vit_b, vit_s, vit_tiny"),
    (dict(arch='no.py'), "there is no config 'no.py'"),
    (dict(arch='vit_s_ft_200e'), 'is no config of pre-training'),
    (dict(epoch=3), "epoch: the config has no such field; did you mean 'epochs'"),
    (dict(seed=3), "seed: the config has no such field; did you mean 'randomness.seed'"),
    (dict(lr=1e-3), "lr: .* did you mean 'optim_wrapper.optimizer.lr'"),
    (dict(modle=dict(mask_ratio=0.6)), "modle: the config has no such field; did you mean 'model'"),
    (dict(model=dict(mask_ration=0.6)), "model.mask_ration: .*did you mean 'mask_ratio'"),
    ({'param_scheduler.9.begin': 1}, 'a field that was given does not fit'),
    (dict(image_size=100), 'image_size must be a multiple of 16 here'),
    (dict(arch='swin_b', image_size=64), 'only the ViT recipes'),
    (dict(init='no.pth'), 'no.pth'),
    (dict(epochs=0), '^epochs must be at least 1'),
    (dict(image_size='32'), "image_size must be an integer, not '32'"),
    (dict(launcher='openmpi'), "^launcher must be 'none', 'pytorch' or 'slurm', not 'openmpi'"),
    (dict(init=''), "no file, folder or name is given, but ''"),
    (dict(batch_size=0), '^batch_size must be at least 1')])
def test_mistakes_are_exceptions_that_name_what_is_wrong(given, message, images, tmp_path):
    with pytest.raises(UserError, match=message):
        mmwamim.pretrain(**{'data': images, 'arch': 'vit_tiny', 'out': tmp_path, 'batch_size': 4,
                            'workers': 0, **given})


def test_a_run_does_not_write_among_its_images(images):
    before = sorted(images.iterdir())
    with pytest.raises(UserError, match='is the folder of the images, and pictures'):
        again(images, images)
    assert sorted(images.iterdir()) == before


def test_what_comes_next_is_told_by_short_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = tmp_path / 'run'
    told = what_next(Run(here, here / 'epoch_1.pth', here / 'run.log', here / 'config.py',
                         here / 'encoder.pth'))
    assert f'{tmp_path}' not in told and ' run/encoder.pth --to timm' in told
