"""What tools/train.py and tools/test.py settle before MMEngine's Runner starts."""
import os
from pathlib import Path
from typing import Optional, Union

import torch
from mmengine.config import Config

from mmwamim.errors import MissingFile, UserError

from .distributed import part_processes, settle_launcher, settle_processes
from .loaders import add_hook

__all__ = ['part_processes', 'read_config', 'settle_accumulation', 'settle_launcher',
           'settle_length', 'settle_loop', 'settle_precision', 'settle_processes',
           'settle_sharding', 'settle_step', 'settle_work_dir']

LOOPS = dict(EpochBasedTrainLoop=True, IterBasedTrainLoop=False)  # whether epochs are counted


def read_config(path: Union[str, Path], options: Optional[dict] = None) -> Config:
    """A config file with ``--cfg-options`` merged in.

    Raises:
        MissingFile: There is no such file.
        UserError: It is no config, or an option does not fit it.
    """
    if not Path(path).is_file():
        raise MissingFile(f'there is no config {str(path)!r}')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # it is a program, which raises whatever it likes
        raise UserError(f'{path} cannot be read as a config: {type(error).__name__}: {error}'
                        ) from error
    try:
        cfg.merge_from_dict(options or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f'--cfg-options does not fit {path}: {error.args[0]}') from error
    return cfg


def settle_work_dir(cfg: Config, config_path: str, work_dir: str = None) -> None:
    """The command line first, then the config, then work_dirs/<config's name>."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(config_path).stem)


def settle_precision(cfg: Config, amp: bool) -> None:
    """Mixed precision on a GPU if the config or ``amp`` asks for it; float32 on the CPU."""
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        return
    ours = _is(wrapper, 'GuardedOptimWrapper')
    if amp and torch.cuda.is_available() and not _is(wrapper, 'AmpOptimWrapper'):
        wrapper.update(type='mmwamim.GuardedOptimWrapper', dtype='bfloat16')
    if not torch.cuda.is_available() and (ours or _is(wrapper, 'AmpOptimWrapper')):
        for field in ('dtype', 'loss_scale', 'use_fsdp'):
            wrapper.pop(field, None)
        wrapper['type'] = 'mmwamim.GuardedOptimWrapper'


def settle_step(cfg: Config) -> None:
    """Puts parts that never wait for the device, and that no bad step gets past, where a config
    has MMEngine's. Loss scaling, which float16 needs, stays MMEngine's."""
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None or 'optimizer' not in wrapper:
        return
    scaled = wrapper.get('loss_scale', 'dynamic' if _is(wrapper, 'AmpOptimWrapper') else None)
    unscaled = scaled is None or (isinstance(scaled, dict) and not scaled.get('enabled', True))
    if unscaled and wrapper.get('type', 'OptimWrapper').split('.')[-1] in (
            'OptimWrapper', 'AmpOptimWrapper'):
        for field in ('loss_scale', 'use_fsdp'):
            wrapper.pop(field, None)
        wrapper.type = 'mmwamim.GuardedOptimWrapper'
    if wrapper.get('constructor', '').split('.')[-1] in ('', 'DefaultOptimWrapperConstructor'):
        wrapper.constructor = 'mmwamim.MergedOptimWrapperConstructor'
    hooks = _default_hooks(cfg)
    if _is(hooks.get('runtime_info') or dict(type='RuntimeInfoHook'), 'RuntimeInfoHook'):
        hooks['runtime_info'] = dict(type='mmwamim.DeferredInfoHook')
    hooks.setdefault('regroup', dict(type='mmwamim.RegroupHook'))
    for hook in cfg.get('custom_hooks') or []:
        if _is(hook, 'EMAHook'):
            hook.type = 'mmwamim.GuardedEMAHook'


def settle_loop(cfg: Config) -> None:
    """Puts parts that can stop and go on inside an epoch, write whole files and say what they do,
    where a config has MMEngine's: any config of mmpretrain, mmdet or mmseg is as safe as ours."""
    loop, loader = cfg.get('train_cfg'), cfg.get('train_dataloader')
    if loop is None or loader is None:
        return
    kind = str(loop.get('type', '')).split('.')[-1]
    by_epoch = LOOPS.get(kind) if kind else loop.get('by_epoch')
    if by_epoch is not None:
        loop.pop('by_epoch', None)
        loop.type = f'mmwamim.Resumable{"Train" if by_epoch else "Iter"}Loop'
        _settle_sampler(loader, by_epoch)
    checkpoint = _default_hooks(cfg).get('checkpoint', dict(type='CheckpointHook', interval=1))
    if checkpoint and _is(checkpoint, 'CheckpointHook') \
            and '://' not in str(checkpoint.get('out_dir')):
        cfg.default_hooks.checkpoint = dict(checkpoint, type='mmwamim.AtomicCheckpointHook')
    for hook in (dict(type='mmwamim.RunSummaryHook'), dict(type='mmwamim.ResumeHook'),
                 dict(type='mmwamim.PreemptionHook', interval=10)):
        add_hook(cfg, hook)


def _default_hooks(cfg: Config) -> dict:
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = {}
    return cfg.default_hooks


def _settle_sampler(loader: dict, by_epoch: bool) -> None:
    sampler, batches = loader.get('sampler') or {}, loader.get('batch_sampler')
    if _is(sampler, 'DefaultSampler') or _is(sampler, 'InfiniteSampler'):
        loader['sampler'] = dict(
            type=f'mmwamim.Resumable{"Sampler" if by_epoch else "Stream"}',
            shuffle=sampler.get('shuffle', True), seed=sampler.get('seed'))
        if batches and by_epoch and not _is(batches, 'ResumableBatches'):
            loader['batch_sampler'] = dict(type='mmwamim.ResumableBatches', batches=dict(batches))


def _is(part: dict, name: str) -> bool:
    """Whether a part of a config is of a type, with or without the package's prefix."""
    return str(part.get('type', '')).split('.')[-1] == name


def settle_sharding(cfg: Config, launcher: str) -> None:
    """What ``--fsdp`` needs besides its runner.

    Raises:
        UserError: There is one process alone.
    """
    if launcher == 'none':
        raise UserError('--fsdp shares out a model among processes: start several with '
                         'tools/dist_train.sh or tools/slurm_train.sh')
    add_hook(cfg, dict(type='mmwamim.ShardingHook'))


def settle_length(cfg: Config, epochs: int = None) -> None:
    """Makes a run of ``epochs`` epochs, with warm-up and decay in the config's proportions.

    Raises:
        UserError: ``epochs`` is not positive, or the config counts iterations.
    """
    if epochs is None:
        return
    if epochs < 1:
        raise UserError(f'--epochs must be at least 1, not {epochs}')
    if 'max_epochs' not in cfg.train_cfg:
        raise UserError('this config counts iterations: set them with --cfg-options '
                         'train_cfg.max_iters=N')
    scale = epochs / cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = epochs
    schedulers = cfg.get('param_scheduler') or []
    if isinstance(schedulers, dict) and 'type' in schedulers:
        cfg.param_scheduler = schedulers = [schedulers]
    if isinstance(schedulers, dict):
        raise UserError('--epochs does not know the schedules of several optimizers: set '
                        'train_cfg.max_epochs and param_scheduler with --cfg-options')
    for scheduler in schedulers:
        if not scheduler.get('by_epoch', True):
            continue  # a warm-up in iterations does not depend on the length
        for field in ('begin', 'end', 'T_max'):
            if field in scheduler:
                scheduler[field] = round(scheduler[field] * scale)
        if 'milestones' in scheduler:
            scheduler.milestones = [round(step * scale) for step in scheduler.milestones]
    # A warm-up that rounds to nothing is no phase at all.
    cfg.param_scheduler = [s for s in schedulers if s.get('end', 1) > s.get('begin', 0)]


def settle_accumulation(cfg: Config) -> None:
    """Checks ``accumulative_counts``; :class:`mmwamim.engine.runner.TrainingRunner` scales rates
    with it.

    Raises:
        UserError: The number of accumulated steps is not a positive integer.
    """
    counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if not isinstance(counts, int) or counts < 1:
        raise UserError(f'optim_wrapper.accumulative_counts must be a positive integer, '
                         f'not {counts!r}')
