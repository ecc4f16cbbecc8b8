"""Runs that are asked to stop: they finish their step, save, and can go on."""
import functools
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, Optional

import torch
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmwamim.errors import Preempted
from mmwamim.interface.words import option
from mmwamim.registry import HOOKS

from ..checkpoints.finding import PREEMPTED_NAME
from .watch import look_at_steps

# Of two that come together the later of this list counts: a run that is cancelled (scancel sends
# SIGTERM) while its time runs out (SIGUSR1) is cancelled.
SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
REASON_NAME = 'stopped_by'  # a file of the work directory with the name of the signal


class StopRequest:
    """The handler of both signals, which remembers which one came; of both, SIGTERM."""

    def __init__(self) -> None:
        self.number: Optional[int] = None

    def __call__(self, number: int, frame) -> None:
        if self.number != signal.SIGTERM:
            self.number = number

    def agreed(self, device: torch.device) -> Optional[int]:
        """The signal that any process was sent, the same on all of them: one may be asked a step
        before the others."""
        rank = 0 if self.number is None else 1 + SIGNALS.index(self.number)
        asked = torch.tensor(float(rank), device=device)
        if torch.distributed.is_initialized():
            all_reduce(asked, op='max')
        rank = int(asked)
        return SIGNALS[rank - 1] if rank else None

    @classmethod
    def listen(cls) -> 'StopRequest':
        """Handles the signals from now on, and those that were held until now; what has listened
        before goes on to. In another thread than the main one, where Python takes no handlers,
        signals stay what they are to the program around."""
        listening = signal.getsignal(signal.SIGTERM)
        request = listening if isinstance(listening, cls) else cls()
        if threading.current_thread() is not threading.main_thread():
            return request
        for number in SIGNALS:
            signal.signal(number, request)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return request

    @staticmethod
    def leave() -> None:
        """Ignores the signals from now on, since the run is done. Python takes handlers back while
        it ends, which may last seconds, and a signal would make a failure of a finished run."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_put_back() -> Iterator[None]:
    """At its end signals are handled, and held, as before it: a notebook goes on as if no run had
    listened."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # it was not Python's
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Saves ``preempted.pth`` and stops when the run is asked to (SIGTERM or SIGUSR1).

    It stops after a step of training or validation; a validation that was broken off is done again
    by the run that goes on. Loader workers do not take part in the signals.

    Args:
        interval: Steps from one check whether another rank was asked to the next. On GPUs a
            look waits for the step; on the CPU every step is followed by one.

    Raises:
        mmwamim.errors.Preempted: On all ranks together, when the checkpoint is written.

    Examples:
        >>> custom_hooks = [dict(type='mmwamim.PreemptionHook', interval=10)]  # in a config
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        self.request = StopRequest.listen()
        if is_main_process():
            (Path(runner.work_dir) / REASON_NAME).unlink(missing_ok=True)
        deaf(runner.train_dataloader)
        if runner.val_loop is not None:
            deaf(runner.val_dataloader)

    def after_train_iter(self, runner: Runner, **_) -> None:
        number = self._asked(runner, runner.iter)
        if number:
            self._stop(runner, number, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def after_val_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        sampler = runner.val_dataloader.batch_sampler.sampler
        alone = not torch.distributed.is_initialized()
        # Processes with different numbers of batches would wait for each other for ever.
        together = alone or getattr(sampler, 'round_up', False)
        number = self._asked(runner, batch_idx) if together else None
        if number:
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):  # has put the average in the place of the weights
                    hook._swap_ema_parameters()
            self._stop(runner, number, dict(epoch=runner.epoch, iter=runner.iter))

    def _asked(self, runner: Runner, step: int) -> Optional[int]:
        """The signal, if it is time to look and any process was sent one."""
        device = next(runner.model.parameters()).device
        if device.type != 'cpu' and (step + 1) % self.interval:
            return None
        return self.request.agreed(device)

    def _stop(self, runner: Runner, number: int, meta: dict) -> None:
        look_at_steps(runner)  # a bad state is not saved
        runner.save_checkpoint(runner.work_dir, PREEMPTED_NAME, meta=meta, by_epoch=False,
                               backend_args=dict(backend='atomic'))
        path = Path(runner.work_dir) / PREEMPTED_NAME
        if is_main_process():
            (path.parent / REASON_NAME).write_text(f'{signal.Signals(number).name}\n')
        runner.logger.info(f'Asked to stop: saved {path} after step {meta["iter"]}; go on with '
                           f'{option("resume", True)}')
        self.request.number = None  # done; another run of this process starts unasked
        barrier()  # whoever leaves first, Slurm kills the others
        raise Preempted(path)


def deaf(loader: DataLoader) -> None:
    """Makes the workers that a loader will start ignore both signals, but for their parent's."""
    loader.worker_init_fn = functools.partial(_start_worker, loader.worker_init_fn)


def _start_worker(init: Optional[Callable[[int], None]], worker: int) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Slurm and others send SIGTERM to every process of a job; the parent ends its workers with it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_leave_with, args=(os.getppid(), ), daemon=True).start()
    if init is not None:
        init(worker)


def _leave_with(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
