"""What a step reports, kept on the device and read at the logging interval only."""
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import CheckpointHook, EMAHook, LoggerHook, RuntimeInfoHook
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import Runner
from torch import Tensor

from mmwamim.models.finite import NonFiniteLoss, name_bad_losses
from mmwamim.registry import HOOKS

from ..checkpoints.finding import last_of_run
from .running_state import Snapshot


class StepReport(NamedTuple):
    """A step that was not looked at yet."""
    step: int
    epoch: int
    rate: float
    files: Sequence[str]
    names: List[str]
    """Of the values, in their order."""
    values: Tensor
    """float32, on the device: one for each name, then 1 if the losses are finite, then 1 if the
    step was good."""


@HOOKS.register_module()
class DeferredInfoHook(RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook`` without a read-back of every loss in every step.

    Values stay on the device until a check: when something is logged, saved or validated, at the
    end of an epoch, and at most ``interval`` steps after the last check. At a check all ranks
    read what they have in one copy, and the log gets the value of every step.

    A step that was not good (``GuardedOptimWrapper``), or whose losses were not finite on any
    rank, is then told with its step, the losses, the learning rate, the files of the batch and
    the last good checkpoint: as a warning while there are no more than ``max_bad_steps`` in a run,
    and as an error, on all ranks, when there are more. Such steps are not in the log.

    Args:
        interval: Steps between two checks at most. Default: the logging interval.
        max_bad_steps: Steps that may be bad, for loops that do not say (``train_cfg.max_bad_steps``
            of ``ResumableTrainLoop``).
        history: Values of each logged scalar that are kept in memory and in checkpoints. MMEngine
            keeps a million, and copies them in every step.

    Raises:
        NonFiniteLoss: From a check: more than ``max_bad_steps`` steps were bad.

    Examples:
        >>> default_hooks = dict(  # in a config
        ...     runtime_info=dict(type='mmwamim.DeferredInfoHook', interval=50))
    """

    def __init__(self, interval: Optional[int] = None, max_bad_steps: int = 0,
                 history: int = 10000) -> None:
        if interval is not None and interval < 1:
            raise ValueError(f'DeferredInfoHook: interval must be at least 1, not {interval}')
        self.interval, self.max_bad_steps, self.history = interval, max_bad_steps, history
        self.waiting: List[StepReport] = []
        self.bad_steps = 0

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        self.waiting.append(report_step(runner, data_batch, outputs or {}))
        if self._is_due(runner, batch_idx):
            self.look(runner)

    def before_val(self, runner: Runner) -> None:
        self.look(runner)
        super().before_val(runner)

    def after_train(self, runner: Runner) -> None:
        self.look(runner)
        super().after_train(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """For what is saved at other moments; only the first process comes here."""
        if self.waiting:
            self.look(runner, together=False)
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def look(self, runner: Runner, together: bool = True) -> None:
        """Reads what has gathered, logs it, and tells bad steps; waits for the device.

        Args:
            runner: The runner.
            together: Whether all processes are here.
        """
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        flags = torch.stack([report.values[-2:] for report in waiting])
        if together:
            all_reduce(flags, op='min')
        everything = torch.cat([flags.flatten(), *(report.values for report in waiting)]).tolist()
        bad, place = [], 2 * len(waiting)
        for number, report in enumerate(waiting):
            values = dict(zip(report.names, everything[place:], strict=False))
            place += len(report.values)
            losses_finite, good = everything[2 * number:2 * number + 2]
            if losses_finite and good:
                for name, value in values.items():
                    runner.message_hub.update_scalar(f'train/{name}', value)
            else:
                bad.append(_describe(report, values, bool(losses_finite)))
        trim_history(runner.message_hub, self.history)
        if bad:
            self._tell(runner, bad)

    def _is_due(self, runner: Runner, batch_idx: int) -> bool:
        """Whether something is read or written after this step, or enough steps have passed."""
        interval = self.interval
        for hook in runner.hooks:
            if isinstance(hook, LoggerHook):
                if self.every_n_inner_iters(batch_idx, hook.interval):
                    return True
                interval = interval or hook.interval
            if isinstance(hook, CheckpointHook) and not hook.by_epoch \
                    and self.every_n_train_iters(runner, hook.interval):
                return True
        return len(self.waiting) >= (interval or 1) or self.is_last_train_iter(runner) \
            or self.end_of_epoch(runner.train_dataloader, batch_idx)

    def _tell(self, runner: Runner, bad: Sequence[str]) -> None:
        self.bad_steps += len(bad)
        allowed = getattr(runner.train_loop, 'max_bad_steps', self.max_bad_steps)
        run = (runner.message_hub.get_info('run') or {}).get('id')
        message = '\n'.join(bad) + f'\nlast good checkpoint: {last_of_run(runner.work_dir, run)}'
        if self.bad_steps > allowed:
            raise NonFiniteLoss(message)
        runner.logger.warning(f'{message}\nskipped, {self.bad_steps} of at most {allowed} such '
                              'steps')


def report_step(runner: Runner, data_batch: Any, outputs: Dict[str, Any]) -> StepReport:
    """Packs what a step has left on the device into one tensor, without reading it."""
    wrapper = runner.optim_wrapper
    reports = wrapper.take_reports() if hasattr(wrapper, 'take_reports') else {}
    device = next((value.device for value in [*outputs.values(), *reports.values()]
                   if isinstance(value, Tensor)), torch.device('cpu'))

    def scalar(value: Any) -> Tensor:
        if not isinstance(value, Tensor):
            return torch.full((), float(value), device=device)
        return value.detach().to(device, torch.float32, non_blocking=True).reshape(())

    good = scalar(reports.pop('good', 1.))
    values = {name: scalar(value) for name, value in outputs.items()}
    losses = [value for name, value in values.items() if 'loss' in name]
    finite = torch.stack(losses).isfinite().all().float() if losses else torch.ones_like(good)
    values.update({name: scalar(value) for name, value in reports.items()})
    rates = [rate for rates in wrapper.get_lr().values() for rate in rates]
    return StepReport(
        runner.iter + 1, runner.epoch + 1, max(rates),
        _files(data_batch),
        list(values), torch.stack([*values.values(), finite, good]))


def _files(data_batch: Any) -> Sequence[str]:
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    if hasattr(samples, 'paths'):
        return samples.paths
    return [str(getattr(sample, 'img_path', '?')) for sample in samples or []]


def _describe(report: StepReport, values: Dict[str, float], losses_finite: bool) -> str:
    losses = {name: value for name, value in values.items() if 'loss' in name}
    levels = {name: value for name, value in losses.items() if name != 'loss'}
    wrong = name_bad_losses(levels) or name_bad_losses(losses) or (
        'the gradient is not finite' if losses_finite else 'a loss on another process')
    return (f'step {report.step} (epoch {report.epoch}), process {get_rank()}: {wrong}; learning '
            f'rate {report.rate:.3g}; files of the batch: {", ".join(report.files)}')


def look_at_steps(runner: Runner) -> None:
    """Has what steps have left on the device read now; all processes must call it."""
    for hook in runner.hooks:
        if isinstance(hook, DeferredInfoHook):
            hook.look(runner)


def trim_history(hub: MessageHub, most: int) -> None:
    """Keeps the last ``most`` values of every scalar of training, so that adding one stays cheap.
    """
    for name, buffer in hub.log_scalars.items():
        values, counts = buffer.data
        if name.startswith('train/') and len(values) > most:
            hub.log_scalars[name] = HistoryBuffer(values[-most:], counts[-most:])


@HOOKS.register_module()
class GuardedEMAHook(EMAHook):
    """MMEngine's ``EMAHook``, whose average a bad step leaves as it was."""

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        good = getattr(runner.optim_wrapper, 'good', None)
        tensors = [*self.ema_model.parameters(), *self.ema_model.buffers()]
        before = Snapshot(tensors if good is not None else [])
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if good is not None:
            before.restore_unless(good)
