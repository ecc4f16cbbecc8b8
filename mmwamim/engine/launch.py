"""What tools/train.py and tools/test.py settle before MMEngine's Runner starts."""
import os
from pathlib import Path

import torch
from mmengine.config import Config

from mmwamim.errors import UserError

from .distributed import part_processes, settle_launcher, settle_processes

__all__ = ['part_processes', 'settle_accumulation', 'settle_launcher',
           'settle_length', 'settle_precision', 'settle_processes', 'settle_sharding',
           'settle_work_dir']

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


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
    hooks = cfg.setdefault('default_hooks', {})
    if _is(hooks.get('runtime_info') or dict(type='RuntimeInfoHook'), 'RuntimeInfoHook'):
        hooks['runtime_info'] = dict(type='mmwamim.DeferredInfoHook')
    hooks.setdefault('regroup', dict(type='mmwamim.RegroupHook'))
    for hook in cfg.get('custom_hooks', []):
        if _is(hook, 'EMAHook'):
            hook.type = 'mmwamim.GuardedEMAHook'


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
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='mmwamim.ShardingHook')]




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
    for scheduler in cfg.param_scheduler:
        if not scheduler.get('by_epoch', True):
            continue  # a warm-up in iterations does not depend on the length
        for field in ('begin', 'end', 'T_max'):
            if field in scheduler:
                scheduler[field] = round(scheduler[field] * scale)
        if 'milestones' in scheduler:
            scheduler.milestones = [round(step * scale) for step in scheduler.milestones]
    # A warm-up that rounds to nothing is no phase at all.
    cfg.param_scheduler = [s for s in cfg.param_scheduler if s.get('end', 1) > s.get('begin', 0)]


def settle_accumulation(cfg: Config) -> None:
    """Makes the learning rate follow the accumulated batch, which MMEngine's scaling forgets:
    8 x 256, 4 x 256 x 2 accumulated and 1 x 64 x 32 accumulated get the same rate.

    Raises:
        UserError: The number of accumulated steps is not a positive integer.
    """
    counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if not isinstance(counts, int) or counts < 1:
        raise UserError(f'optim_wrapper.accumulative_counts must be a positive integer, '
                         f'not {counts!r}')
    scaling = cfg.get('auto_scale_lr')
    if scaling and counts > 1:
        # The rate is multiplied by batch x processes / base: a smaller base stands for the counts.
        scaling.base_batch_size = scaling.base_batch_size / counts
