"""Signals: whom they reach, and what is left."""
import os
import signal
import time

import pytest
import torch
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from mmwamim.engine.checkpoints import read_header
from mmwamim.engine.training.preemption import REASON_NAME, StopRequest, deaf
from mmwamim.errors import PREEMPTED, Preempted, told_in_one_line
from tests.faults.kill_and_resume import same
from tests.runs import FINETUNE, PRETRAIN, make_classes, make_images, prepare, record


class Slow(torch.utils.data.Dataset):

    def __len__(self):
        return 6

    def __getitem__(self, index):
        time.sleep(0.2)
        return index


def test_workers_take_no_part_in_the_signals_but_leave_with_their_parent():
    loader = DataLoader(Slow(), num_workers=2, persistent_workers=True)
    deaf(loader)
    batches = iter(loader)
    first = next(batches)
    workers = batches._workers
    for worker in workers:
        for number in (signal.SIGUSR1, signal.SIGTERM):
            # From another process, as Slurm does.
            os.system(f'kill -{int(number)} {worker.pid}')
    assert [int(first), *map(int, batches)] == list(range(6))  # nothing is lost
    assert all(worker.is_alive() for worker in workers)
    for worker in workers:
        worker.terminate()  # from here: their parent
        worker.join(10)
        assert worker.exitcode == 0


def test_asked_before_the_first_step_and_again(tmp_path):
    """It stops after that step, once; the first signal is the reason."""
    images = make_images(tmp_path / 'images', 8, 80)
    runner = prepare(PRETRAIN, images, tmp_path / 'w', '--epochs', 2, '--batch-size', 4)
    StopRequest.listen()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM):
        os.kill(os.getpid(), number)
    with pytest.raises(Preempted):
        runner.train()
    saved = read_header(tmp_path / 'w/preempted.pth')['meta']
    assert (saved['epoch'], saved['iter']) == (0, 1)
    assert (tmp_path / 'w' / REASON_NAME).read_text() == 'SIGTERM\n'


class AskInValidation(Hook):

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.epoch == 2 and batch_idx == 0:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize('average', [[], ['custom_hooks.0.type=EMAHook',
                                          'custom_hooks.0.momentum=0.1']])
def test_a_validation_is_broken_off_and_done_again(tmp_path, average):
    data = make_classes(tmp_path / 'data', 2, 6)
    options = ['--epochs', 3, '--batch-size', 4]
    fields = ['val_dataloader.batch_size=1', *average]
    record(FINETUNE, data, tmp_path / 'whole', *options, fields=fields)
    runner = prepare(FINETUNE, data, tmp_path / 'work', *options, fields=fields)
    runner.register_hook(AskInValidation(), 'LOW')
    with pytest.raises(Preempted, match='preempted.pth'):
        runner.train()
    assert (runner.epoch, runner.iter) == (2, 6)
    assert (tmp_path / 'work' / REASON_NAME).read_text() == 'SIGTERM\n'
    rest = record(FINETUNE, data, tmp_path / 'work', *options, '--resume', fields=fields)
    assert [step for _, _, step in rest.steps] == [6, 7, 8]
    log = '\n'.join(path.read_text() for path in (tmp_path / 'work').glob('*/*.log'))
    assert 'Validating after epoch 2: the checkpoint was written before' in log
    assert same(tmp_path / 'whole/epoch_3.pth', tmp_path / 'work/epoch_3.pth') == []
    assert not (tmp_path / 'work' / REASON_NAME).exists()


def test_a_script_leaves_at_once_with_its_code(tmp_path):
    child = os.fork()
    if not child:
        with told_in_one_line():
            raise Preempted(tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == PREEMPTED
