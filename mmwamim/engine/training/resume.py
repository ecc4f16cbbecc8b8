"""What a run takes over from a checkpoint, and what from today's config.

Today's config rules: schedules and optimizer settings are what a run with it would have at this
point. From the checkpoint come what training has made: weights, moments, averages, the place in
the data, the seed of the sampler and the history of the log.
"""
import secrets
import time
from pathlib import Path
from typing import List, Optional

from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseAveragedModel, is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from mmwamim.interface.words import option
from mmwamim.registry import HOOKS

from ..checkpoints.finding import list_checkpoints
from ..export.hook import EncoderExportHook
from .changes import Change, changes, parse_config
from .compatibility import check_checkpoint, check_same_run
from .moments import carry_moments, parameter_names
from .progress import Layout, Position, Progress, describe, same_steps, translate
from .schedules import play


@HOOKS.register_module()
class ResumeHook(Hook):
    """Keeps in checkpoints what a run must know to go on, and goes on from them.

    Raises:
        mmwamim.errors.UserError: From ``after_load_checkpoint``: the checkpoint is of another
            model, optimizer or kind of loop; the fields are named.
    """

    priority = 'HIGHEST'  # before tensors are shared out by their place in the optimizer

    def __init__(self) -> None:
        self.digest: Optional[str] = None

    def _digest(self, runner: Runner) -> str:
        """Of the images of the run, '' where it cannot be told; made once."""
        if self.digest is None:
            self.digest = _digest(runner.train_dataloader.dataset)
        return self.digest

    def before_run(self, runner: Runner) -> None:
        config = Path(runner.cfg.filename).name if runner.cfg.filename else 'a config of its own'
        runner.message_hub.update_info(
            'run', dict(id=secrets.token_hex(8), started=time.time(), config=config))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        layout, wrapper = Layout.of(runner), runner.optim_wrapper
        meta = checkpoint['meta']
        start = getattr(runner.train_loop, 'start', Position(0, 0))
        if layout.counts == 'epochs' and start.epoch != meta['epoch']:
            start = Position(meta['epoch'], meta['iter'])
        done = getattr(wrapper, '_inner_count', 0)
        pending = 0 if done == getattr(wrapper, '_max_counts', None) else done % layout.accumulation
        checkpoint['validated'] = getattr(runner.train_loop, 'validated', None)
        checkpoint['progress'] = Progress(layout, start, pending).to_dict()
        checkpoint['sampler_seed'] = getattr(_sampler(runner), 'seed', None)
        checkpoint['images'] = self._digest(runner)
        if 'optimizer' in checkpoint and not isinstance(wrapper, OptimWrapperDict):
            checkpoint['parameter_names'] = parameter_names(_plain(runner.model), wrapper)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume or isinstance(runner._train_loop, (dict, type(None))):
            return
        path = str(runner._load_from)
        check_checkpoint(path, checkpoint)
        model, layout = _plain(runner.model), Layout.of(runner)
        old = parse_config(checkpoint['meta'].get('cfg', ''))
        differ = changes(old, parse_config(runner.cfg.pretty_text))
        notes = _settle_averages(runner, checkpoint)
        check_same_run(path, checkpoint, runner, model, differ,
                       _counts(checkpoint, old), layout.counts)
        saved = Progress.of_checkpoint(checkpoint, layout)
        position = translate(saved, layout)
        note = describe(saved, position, layout)
        notes += [note] if note else []
        _move(runner, checkpoint, position, saved)
        notes += _settle_seed(runner, checkpoint)
        if checkpoint.get('images', '') not in ('', self._digest(runner)):
            notes.append('the images are not those of the checkpoint, or come in another order' + (
                ': some may come twice or not at all in this epoch'
                if position.iter - position.epoch * layout.steps else ''))
        _settle_history(runner, checkpoint)
        rates = _settle_optimizer(runner, checkpoint, model, position, notes)
        self._report(runner, path, differ + _sizes(checkpoint, saved.layout, layout) + rates, notes)

    def after_val_epoch(self, runner: Runner, metrics: Optional[dict] = None) -> None:
        loop = runner._train_loop
        if hasattr(loop, 'validated'):  # not while the model is tested alone
            loop.validated = runner.iter if Layout.of(runner).counts == 'steps' else runner.epoch

    def before_train(self, runner: Runner) -> None:
        if not runner._resume:
            self._warn_of_others(runner)
            return
        loop, counts = runner.train_loop, getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if counts > 1 and loop.iter < loop.max_iters:  # gradients begin to add up here
            runner.optim_wrapper.initialize_count_status(
                runner.model, 0, loop.max_iters - loop.iter)
        done, length, unit = (loop.iter, loop.max_iters, 'steps') \
            if Layout.of(runner).counts == 'steps' else (loop.epoch, loop.max_epochs, 'epochs')
        if done >= length:
            more = option('epochs') if unit == 'epochs' else 'train_cfg.max_iters'
            runner.logger.warning(
                f'Nothing is left to train: {done} {unit} are done, and the run is to have '
                f'{length}. For a longer one: {option("resume", True)} with a larger {more}')

    def _report(self, runner: Runner, path: str, differ: List[Change], notes: List[str]) -> None:
        lines = [f'  {change}' for change in differ]
        if lines:
            lines.insert(0, 'Changed since the checkpoint (old -> new; today\'s values are taken):')
        runner.logger.info('\n'.join(
            [f'Resuming from {path}', *lines, *(f'Note: {note}' for note in notes)]))

    def _warn_of_others(self, runner: Runner) -> None:
        """A new run in the work directory of another one."""
        others = list_checkpoints(runner.work_dir, report=False) if runner.rank == 0 else []
        encoders = [hook.filename for hook in runner.hooks if isinstance(hook, EncoderExportHook)
                    and Path(runner.work_dir, hook.filename).is_file()]
        if others or encoders and runner.rank == 0:
            names = ', '.join([*(one.path.name for one in others), *encoders])
            runs = '; '.join(sorted({str(one.run) for one in others}))
            way = f'To go on with the other one: {option("resume", True)}; to' if others else 'To'
            runner.logger.warning(
                f'{runner.work_dir} already holds {names} of another run'
                f'{f" ({runs})" if runs else ""}: this is a new run, and will replace those of the '
                f'same name. {way} keep it: another work directory')


def _plain(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _sampler(runner: Runner):
    return runner.train_dataloader.batch_sampler.sampler


def _digest(dataset: Dataset) -> str:
    """What tells the images of a data set, or of those that it is made of, from others; ''."""
    records = getattr(dataset, 'data_list', None)
    if hasattr(records, 'digest'):
        return records.digest()
    inside = [getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', [])]
    return ' '.join(filter(None, (_digest(one) for one in inside if one is not None)))


def _counts(checkpoint: dict, config: dict) -> str:
    """What the length of the run was counted in; None if it is not known."""
    if 'progress' in checkpoint:
        return checkpoint['progress']['counts']
    loop = (config or {}).get('train_cfg', {})
    return 'epochs' if 'max_epochs' in loop else 'steps' if 'max_iters' in loop else None


def _sizes(checkpoint: dict, old: Layout, new: Layout) -> List[Change]:
    """What an epoch is made of; only known where the checkpoint tells."""
    if 'progress' not in checkpoint:
        return []
    names = dict(images='images', processes='processes', steps='steps of an epoch')
    return [Change(name, getattr(old, field), getattr(new, field))
            for field, name in names.items() if getattr(old, field) != getattr(new, field)]


def _settle_averages(runner: Runner, checkpoint: dict) -> List[str]:
    """A checkpoint with an EMA holds the averaged weights in the place of the trained ones."""
    averages = any(isinstance(hook, EMAHook) for hook in runner.hooks)
    if averages or 'ema_state_dict' not in checkpoint:
        return ['the moving average begins with the weights of the checkpoint, which has none'] \
            if averages and 'ema_state_dict' not in checkpoint else []
    for name, value in checkpoint.pop('ema_state_dict').items():
        if name.startswith('module.'):
            checkpoint['state_dict'][name.removeprefix('module.')] = value
    return ['the checkpoint has a moving average (EMAHook), this run has none: training goes on '
            'with the weights that were trained, and the average is left']


def _move(runner: Runner, checkpoint: dict, position: Position, saved: Progress) -> None:
    """Puts the position where MMEngine and the loop will look for it."""
    loop = runner.train_loop
    if hasattr(loop, 'start'):
        loop.start = position
        now = position.iter if Layout.of(runner).counts == 'steps' else position.epoch
        loop.validated = checkpoint.get('validated', now)
    elif position.epoch * len(runner.train_dataloader) != position.iter:
        runner.logger.warning('train_cfg.type is none of ours: the epoch begins anew')
        position = Position(position.epoch, position.epoch * len(runner.train_dataloader))
    checkpoint['meta'].update(epoch=position.epoch, iter=position.iter)
    if same_steps(saved.layout, Layout.of(runner)) or not saved.position.iter:
        return
    for name, module in _plain(runner.model).named_modules():  # momentum encoders count steps
        steps = checkpoint['state_dict'].get(f'{name}.steps')
        if isinstance(module, BaseAveragedModel) and steps is not None:
            checkpoint['state_dict'][f'{name}.steps'] = \
                steps * position.iter // saved.position.iter


def _settle_seed(runner: Runner, checkpoint: dict) -> List[str]:
    """Today's seed; with the old one also the order of the images, which follows from it."""
    # Not runner.seed, to which every process adds its number; the first process has saved its own.
    old, now = checkpoint['meta'].get('seed'), runner._randomness_cfg.get('seed')
    if now is not None and old not in (None, now):
        checkpoint['meta']['seed'] = now
        return [f'the seed was {old} and is now {now}: the images of this epoch come in '
                'another order, some may come twice or not at all']
    if checkpoint.get('sampler_seed') is not None and hasattr(_sampler(runner), 'seed'):
        _sampler(runner).seed = checkpoint['sampler_seed']
    return []


def _settle_history(runner: Runner, checkpoint: dict) -> None:
    """The run stays the same one, unless it goes back; its files are those of this directory."""
    infos = checkpoint['message_hub']['runtime_info']
    if 'run' not in infos or _goes_back(runner, infos['run']['id']):
        infos['run'] = runner.message_hub.get_info('run')
    for name in list(infos):
        if name.startswith(('best_ckpt', 'last_ckpt')) and infos[name]:
            here = Path(runner.work_dir) / Path(infos[name]).name
            if here.is_file():
                infos[name] = str(here)
            else:  # of the directory that this one was copied from: not ours to remove
                del infos[name]


def _goes_back(runner: Runner, run: str) -> bool:
    """Whether there are later checkpoints of the run: those are then another run's."""
    found = list_checkpoints(runner.work_dir, report=False) if runner.rank == 0 else []
    paths = [one.path.resolve() for one in found if one.run.id == run]
    return Path(str(runner._load_from)).resolve() in paths[:-1]


def _settle_optimizer(runner: Runner, checkpoint: dict, model: nn.Module, position: Position,
                      notes: List[str]) -> List[Change]:
    """Today's schedules at this point, and the moments of the checkpoint."""
    wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers or []
    if isinstance(wrapper, OptimWrapperDict):
        notes.append('several optimizers: settings and schedules are those of the checkpoint')
        return []
    old = max(group['lr'] for group in checkpoint['optimizer']['param_groups'])
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
        notes.append('ReduceOnPlateau: settings and schedules are those of the checkpoint')
        return []
    checkpoint.pop('param_schedulers', None)
    play(schedulers, wrapper, position.epoch, position.iter, len(runner.train_dataloader))
    anew = carry_moments(checkpoint, model, wrapper)
    if anew:
        notes.append(f'{len(anew)} parameters were not trained before, and have no momentum yet: '
                     f'{", ".join(anew[:3])}{", ..." if anew[3:] else ""}')
    new = max(group['lr'] for group in wrapper.optimizer.param_groups)
    return [Change('learning rate at this point', old, new)] if old != new else []
