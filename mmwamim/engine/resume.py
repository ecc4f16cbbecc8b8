"""Runs that can be killed at any moment and go on as if they had not been."""
import os
import signal
import sys
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Iterator, Optional, Sequence, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce, get_rank
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmwamim.datasets.sampling import ResumableSampler, seed_everything
from mmwamim.models.finite import NonFiniteLoss
from mmwamim.registry import HOOKS, LOOPS

from .checkpoints import check_safe, read_checkpoint

PREEMPTED = 85  # exit code: saved, please start again with --resume


@register_backend('atomic')
class AtomicBackend(LocalBackend):
    """Local files that are either whole or not there: written beside, flushed, then renamed."""

    def put(self, obj: Union[bytes, BytesIO], filepath: Union[str, Path]) -> None:
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = obj.getbuffer() if isinstance(obj, BytesIO) else obj
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f'.{path.name}.',
                                         delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise


def damage(path: Union[str, Path]) -> Optional[str]:
    """What is wrong with a checkpoint file, or None: every record's check value is computed."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return str(error)
    return None if broken is None else f'its record {broken} does not have its check value'


def latest_checkpoint(work_dir: Union[str, Path]) -> Optional[Path]:
    """The newest undamaged checkpoint of a run, or None; damaged ones are reported."""
    for rest in Path(work_dir).glob('.*.pth.*'):  # of a kill during writing
        rest.unlink(missing_ok=True)
    found = [path for pattern in ('epoch_*.pth', 'iter_*.pth', 'preempted.pth')
             for path in Path(work_dir).glob(pattern)]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        problem = damage(path)
        if problem is None:
            return path
        print(f'{path} is damaged ({problem}): taking the one before it', file=sys.stderr)
    return None


def settle_resume(cfg: Config, checkpoint: Optional[str], trust: bool = False) -> None:
    """Puts ``--resume`` into the config: a file, or 'auto' for the newest of the work directory.

    MMEngine unpickles without restriction what it cannot load safely. So every file that it will
    load is read here first, where nothing in it is run, and refused if that fails.

    Args:
        cfg: The run's config.
        checkpoint: What --resume says; None without it.
        trust: Whether the user vouches for the file: then it is not read here.

    Raises:
        SystemExit: The file is not there, is damaged, or holds more than data.
    """
    _find_checkpoint(cfg, checkpoint)
    if trust:
        return
    try:
        if cfg.get('load_from'):
            read_checkpoint(cfg.load_from)
        backbone = cfg.model.get('backbone')  # settle_encoder reads its own
        for place, path in _pretrained('model', cfg.model):
            if place != 'model.backbone.init_cfg' or not isinstance(backbone, dict):
                check_safe(path, place)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}. If you know where it comes from, and let it run '
                         'code on this machine, add --trust-checkpoint') from None


def _pretrained(place: str, value) -> Iterator[Tuple[str, str]]:
    """Place and path of every checkpoint that parts of a config name for their own weights."""
    if isinstance(value, dict):
        if value.get('type') == 'Pretrained' and 'checkpoint' in value:
            yield place, value['checkpoint']
        for name, below in value.items():
            yield from _pretrained(f'{place}.{name}', below)
    elif isinstance(value, (list, tuple)):
        for index, below in enumerate(value):
            yield from _pretrained(f'{place}.{index}', below)


def _find_checkpoint(cfg: Config, checkpoint: Optional[str]) -> None:
    if checkpoint is None:
        return
    if checkpoint == 'auto':
        found = latest_checkpoint(cfg.work_dir)
        cfg.resume, cfg.load_from = found is not None, found and str(found)
        if found is None:
            print(f'no checkpoint in {cfg.work_dir}: starting from the beginning')
        return
    problem = damage(checkpoint) if Path(checkpoint).is_file() else 'there is no such file'
    if problem is not None:
        raise SystemExit(f'error: cannot resume from {checkpoint}: {problem}')
    cfg.resume, cfg.load_from = True, checkpoint


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, which can go on in the middle of one.

    A step whose loss is not finite changes no weight. Such steps are skipped as long as there are
    no more than ``max_bad_steps`` of them in a run; the next one stops it, on all processes, with
    a message that names the step, the level, the learning rate, the files of the batch and the
    last good checkpoint.

    Before each step torch is seeded with the run's seed, the step and the process, so masks,
    dropout and drop path do not depend on what was drawn before.

    Args:
        max_bad_steps: Steps that may be skipped.
        **loop: Fields of ``EpochBasedTrainLoop``.
    """

    steps_when_saved: Optional[int] = None  # steps an epoch had in the run that is resumed

    def __init__(self, runner: Runner, dataloader, max_epochs: int, max_bad_steps: int = 0,
                 **loop) -> None:
        super().__init__(runner, dataloader, max_epochs, **loop)
        self.max_bad_steps, self.bad_steps = max_bad_steps, 0

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._steps_done()
        sampler = self.dataloader.sampler
        if isinstance(sampler, ResumableSampler):
            sampler.skip(done * self.dataloader.batch_size)
        for index, batch in enumerate(self.dataloader, start=done):
            self.run_iter(index, batch)
        if isinstance(sampler, ResumableSampler):
            sampler.skip(0)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        seed_everything(self.runner.seed, self._iter, get_rank())
        try:
            super().run_iter(idx, data_batch)
        except NonFiniteLoss as error:
            self.bad_steps += 1
            message = self._describe(error, data_batch)
            if self.bad_steps > self.max_bad_steps:
                raise NonFiniteLoss(message) from None
            self.runner.logger.warning(f'{message}; skipped, {self.bad_steps} of at most '
                                       f'{self.max_bad_steps} such steps')
            self.runner.optim_wrapper.zero_grad()
            self.runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch,
                                  outputs=None)
            self._iter += 1

    def _describe(self, error: NonFiniteLoss, batch: Sequence[dict]) -> str:
        rates = sorted({rate for rates in self.runner.optim_wrapper.get_lr().values()
                        for rate in rates})
        files = [sample.img_path for sample in batch.get('data_samples') or []]
        good = latest_checkpoint(self.runner.work_dir)
        return (f'step {self._iter + 1} (epoch {self._epoch + 1}), process {get_rank()}: {error}; '
                f'learning rate {rates[-1]:.3g}; files of the batch: {", ".join(files)}; last '
                f'good checkpoint: {good}')

    def _steps_done(self) -> int:
        """Steps of the current epoch that were done before the run was interrupted."""
        steps = len(self.dataloader)
        done = self._iter - self._epoch * (self.steps_when_saved or steps)
        if self.steps_when_saved not in (None, steps):
            self.runner.logger.warning(
                f'An epoch had {self.steps_when_saved} steps and now has {steps}, since batch, '
                f'processes or images have changed: epoch {self._epoch + 1} begins anew')
            done = 0
        self.steps_when_saved = None
        self._iter = self._epoch * steps + done
        return done


@HOOKS.register_module()
class ResumeHook(Hook):
    """Keeps in checkpoints what :class:`ResumableTrainLoop` must know to go on."""

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['steps_per_epoch'] = len(runner.train_dataloader)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume and isinstance(runner.train_loop, ResumableTrainLoop):
            runner.train_loop.steps_when_saved = checkpoint.get('steps_per_epoch')


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM or SIGUSR1 the run finishes its step, saves ``preempted.pth`` and exits with
    code 85, which ``tools/slurm_train.sh`` turns into a requeue.

    Slurm sends SIGUSR1 before the time limit if asked with ``--signal=USR1@120``.

    Args:
        interval: Steps from one look at all processes' flags to the next; on a GPU each look
            waits for the step.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 1) -> None:
        self.interval, self.asked = interval, False

    def before_train(self, runner: Runner) -> None:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame) -> None:
        self.asked = True

    def after_train_iter(self, runner: Runner, **_) -> None:
        if not self.every_n_train_iters(runner, self.interval):
            return
        # One process may be asked a step before the others: all stop after the same step.
        asked = torch.tensor(float(self.asked))
        if torch.distributed.is_initialized():
            asked = asked.to(next(runner.model.parameters()).device)
            all_reduce(asked)
        if not asked:
            return
        runner.save_checkpoint(runner.work_dir, 'preempted.pth', by_epoch=False,
                               backend_args=dict(backend='atomic'))
        runner.logger.info(f'Asked to stop: saved {runner.work_dir}/preempted.pth after step '
                           f'{runner.iter + 1}; go on with --resume')
        sys.exit(PREEMPTED)
