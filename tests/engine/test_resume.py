import os
import signal
import subprocess
import sys
import time
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from mmwamim.datasets import ResumableSampler, UnlabelledImages
from mmwamim.datasets.sampling import Draw, mix_seed
from mmwamim.engine.checkpoints import AtomicBackend, damage, latest_checkpoint
from mmwamim.errors import PREEMPTED
from tests.faults.kill_and_resume import CONFIG, last_step, losses, same
from tests.support.commands import ROOT, run
from tests.support.processes import train_in_ranks


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    for number in range(24):
        Image.fromarray(rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(
            path / f'{number:02d}.png')
    return path


def test_sampler_shares_out_every_image_and_can_begin_anywhere():
    sampler = ResumableSampler(range(10), seed=3)
    sampler.set_epoch(2)
    every = list(sampler)
    assert sorted(draw.index for draw in every) == list(range(10))
    assert {(draw.seed, draw.epoch) for draw in every} == {(3, 2)}
    sampler.skip(4)
    assert list(sampler) == every[4:] and len(sampler) == 10
    sampler.skip(0)
    sampler.set_epoch(3)
    assert list(sampler) != every

    shares = []
    for rank in range(3):
        part = ResumableSampler(range(10), seed=3)
        part.rank, part.world_size, part.num_samples = rank, 3, 4
        part.set_epoch(2)
        shares.append([draw.index for draw in part])
    mixed = [share[place] for place in range(4) for share in shares]
    assert mixed[:10] == [draw.index for draw in every] and mixed[10:] == mixed[:2]

    rest = []  # behind the first 5 images, whichever processes saw them
    for rank in range(2):
        part = ResumableSampler(range(10), seed=3)
        part.rank, part.world_size, part.num_samples = rank, 2, 5
        part.set_epoch(2)
        part.skip(10)
        assert list(part) == []
        part.skip(5)
        rest.append([draw.index for draw in part])
    assert [rest[0][0], rest[1][0], rest[0][1], rest[1][1], rest[0][2]] == [
        draw.index for draw in every[5:]]


def test_seeds_depend_on_every_part():
    seeds = {mix_seed(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900 and all(0 <= seed < 2**63 for seed in seeds)
    assert mix_seed(1, 23) != mix_seed(12, 3)


def test_augmentations_are_those_of_the_draw(folder):
    images = UnlabelledImages(str(folder), pipeline=[
        dict(type='mmpretrain.LoadImageFromFile'),
        dict(type='mmpretrain.RandomResizedCrop', scale=16), dict(type='mmpretrain.PackInputs')])
    first = images[Draw(0, 1, 5)]['inputs']
    torch.rand(7), np.random.rand(3), images[3]
    assert torch.equal(images[Draw(0, 1, 5)]['inputs'], first)
    for other in (Draw(1, 1, 5), Draw(0, 2, 5), Draw(0, 1, 6)):
        assert not torch.equal(images[other]['inputs'], first)


def test_files_are_whole_or_not_there(tmp_path):
    path = tmp_path / 'deep/epoch_1.pth'
    AtomicBackend().put(BytesIO(b'first'), path)

    class Dying(BytesIO):

        def getbuffer(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        AtomicBackend().put(Dying(b'second'), path)
    assert path.read_bytes() == b'first' and os.listdir(path.parent) == ['epoch_1.pth']


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path, capsys):
    for epoch in (1, 2, 3):
        path = tmp_path / f'epoch_{epoch}.pth'
        torch.save(dict(x=torch.arange(1000.)), path)
        os.utime(path, (epoch, epoch))
    assert latest_checkpoint(tmp_path).name == 'epoch_3.pth'
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])  # cut off
    os.utime(path, (3, 3))
    assert latest_checkpoint(tmp_path).name == 'epoch_2.pth'
    assert 'epoch_3.pth is damaged' in capsys.readouterr().err
    place = whole.index(np.arange(500, 504, dtype='<f4').tobytes())
    path.write_bytes(whole[:place] + b'\xff' + whole[place + 1:])  # one byte has changed
    assert 'check value' in damage(path)
    (tmp_path / '.epoch_4.pth.abc').write_bytes(b'half')
    assert latest_checkpoint(tmp_path / 'nowhere') is None
    latest_checkpoint(tmp_path)
    assert not (tmp_path / '.epoch_4.pth.abc').exists()


def test_killed_and_resumed_is_the_same_to_the_bit(folder, tmp_path):
    code, log = run(sys.executable, '-W', 'ignore', '-m', 'tests.faults.kill_and_resume', '--kills',
                    2, '--epochs', 3, '--data', folder, '--out', tmp_path / 'out', '--port', 29660)
    assert code == 0, log
    assert '"kills": 2' in log and '"tensors_that_differ": 0' in log


def train(folder, work, *options):
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-W', 'ignore', 'tools/train.py', CONFIG, '--data', folder,
               '--batch-size', 4, '--epochs', 6, '--work-dir', work, *options, '--cfg-options',
               'default_hooks.logger.interval=1', 'custom_hooks.2.interval=1']
    return subprocess.Popen([str(part) for part in command], cwd=ROOT, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_that_is_asked_to_stop_saves_and_goes_on(folder, tmp_path, number):
    whole = train(folder, tmp_path / 'whole')
    work = tmp_path / 'asked'
    asked = train(folder, work)
    while last_step(work) < 3 and asked.poll() is None:
        time.sleep(0.02)
    asked.send_signal(number)
    output, _ = asked.communicate(timeout=120)
    assert asked.returncode == PREEMPTED, output[-2000:]
    assert 'go on with --resume' in output and (work / 'preempted.pth').exists()
    output, _ = train(folder, work, '--resume').communicate(timeout=120)
    assert 'preempted.pth' in output
    whole.communicate(timeout=120)
    assert same(tmp_path / 'whole/epoch_6.pth', work / 'epoch_6.pth') == []
    assert losses(tmp_path / 'whole') == losses(work)


def test_slurm_asks_again_for_a_run_that_was_stopped(tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text(f'#!/bin/sh\necho "$@"\n[ -e {tmp_path}/once ] && exit 0\n'
                    f'touch {tmp_path}/once\nexit {PREEMPTED}\n')
    requeue = tmp_path / 'scontrol'
    requeue.write_text('#!/bin/sh\necho scontrol "$@"\n')
    for path in (srun, requeue):
        path.chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    code, log = run('tools/slurm_train.sh', 'part', 'job', CONFIG, 'work', PATH=path)
    first, second = log.splitlines()
    assert code == 0 and '--resume' not in first and second.endswith('--resume')
    (tmp_path / 'once').unlink()
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work/stopped_by').write_text('SIGTERM\n')  # scancel, not the time limit
    code, log = run('tools/slurm_train.sh', 'part', 'job', CONFIG, tmp_path / 'work', PATH=path)
    assert code == PREEMPTED and '--resume' not in log.splitlines()[0]
    assert log.splitlines()[1].startswith('cancelled: saved in')
    (tmp_path / 'once').unlink()
    code, log = run('tools/slurm_train.sh', 'part', 'job', CONFIG, 'work', PATH=path,
                    SLURM_JOB_ID='17')
    assert code == 0 and log.splitlines()[-1] == 'scontrol requeue 17'


def test_what_cannot_be_resumed_is_named(folder, tmp_path):
    code, log = train_in_ranks(CONFIG, '--data', folder, '--resume', tmp_path / 'x.pth', ranks=1)
    assert code != 0 and 'x.pth: there is no such file' in log.splitlines()[-1]
