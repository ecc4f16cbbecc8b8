"""Signals: whom they reach, and what is left."""
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from mmwamim.engine.checkpoints import read_header
from mmwamim.engine.training.preemption import REASON_NAME, StopRequest, deaf
from mmwamim.errors import PREEMPTED, Preempted, told_in_one_line
from tests.faults.kill_and_resume import same
from tests.support.commands import ROOT
from tests.support.runs import FINETUNE, PRETRAIN, prepare, record
from tests.support.small_data import make_classes, make_images


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
    """It stops after that step, once; SIGTERM is the reason."""
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


@pytest.fixture
def request_of_this_process():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # as tools/train.py, at its start
    # There no other thread, which could take it, has started yet.
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    yield StopRequest.listen()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_limit_while_importing_is_kept_and_a_cancel_outweighs_it(request_of_this_process):
    request = request_of_this_process
    assert request.number == signal.SIGUSR1
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.pthread_kill(threading.get_ident(), number)
    assert request.number == signal.SIGTERM and StopRequest.listen() is request


def test_no_signal_makes_a_failure_of_a_run_that_is_done(request_of_this_process):
    script = """
import os, signal, sys
class Late:  # goes when Python has taken the handlers back
    def __del__(self):
        os.kill(os.getpid(), signal.SIGUSR1)
late = Late()
signal.signal(signal.SIGUSR1, signal.SIG_IGN if len(sys.argv) > 1 else print)
"""
    ends = [subprocess.run([sys.executable, '-c', script, *last]).returncode
            for last in ([], ['ignored'])]
    assert ends == [-signal.SIGUSR1, 0]
    StopRequest.leave()
    assert {signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)} == {
        signal.SIG_IGN}
    # Processes part at the end of train().
    main = (ROOT / 'mmwamim/commands/train.py').read_text()
    assert main.index('    start(options,') < main.index('StopRequest.leave()')


def _agree(rank, file, number):
    torch.distributed.init_process_group('gloo', init_method=f'file://{file}', rank=rank,
                                         world_size=2)
    request = StopRequest()
    request.number = number
    agreed = request.agreed(torch.device('cpu'))
    torch.distributed.barrier()
    os._exit(agreed or 0)


@pytest.mark.parametrize('numbers, agreed', [
    ((None, signal.SIGTERM), signal.SIGTERM), ((signal.SIGUSR1, None), signal.SIGUSR1),
    ((signal.SIGUSR1, signal.SIGTERM), signal.SIGTERM), ((None, None), 0)])
def test_processes_agree_on_the_signal_that_any_of_them_was_sent(tmp_path, numbers, agreed):
    children = []
    for rank, number in enumerate(numbers):
        children.append(os.fork())
        if not children[-1]:
            try:
                _agree(rank, tmp_path / 'meet', number)
            finally:
                os._exit(99)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [agreed, agreed]


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
