"""The training step of a config: its precision, its update, how it is shared out."""
import torch
from mmengine.config import Config

from mmwamim.errors import UserError
from mmwamim.interface.words import option

from .loaders import add_hook
from .reading import default_hooks, is_type, type_name


def settle_precision(cfg: Config, amp: bool) -> None:
    """bfloat16 if ``amp`` asks for it, on any device, or the config on a GPU; else float32."""
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        return
    gpu = torch.cuda.is_available()
    theirs = is_type(wrapper, 'AmpOptimWrapper')  # MMEngine's, which refuses the CPU
    if not gpu and (theirs or is_type(wrapper, 'GuardedOptimWrapper')):
        for field in ('dtype', 'loss_scale', 'use_fsdp'):
            wrapper.pop(field, None)
        wrapper['type'] = 'mmwamim.GuardedOptimWrapper'
    if amp and not (gpu and theirs):
        wrapper.update(type='mmwamim.GuardedOptimWrapper', dtype='bfloat16')


def settle_step(cfg: Config) -> None:
    """Puts parts that never wait for the device, and that no bad step gets past, where a config
    has MMEngine's. Loss scaling, which float16 needs, stays MMEngine's."""
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None or 'optimizer' not in wrapper:
        return
    scaled = wrapper.get('loss_scale', 'dynamic' if is_type(wrapper, 'AmpOptimWrapper') else None)
    unscaled = scaled is None or (isinstance(scaled, dict) and not scaled.get('enabled', True))
    if unscaled and (type_name(wrapper) or 'OptimWrapper') in (
            'OptimWrapper', 'AmpOptimWrapper'):
        for field in ('loss_scale', 'use_fsdp'):
            wrapper.pop(field, None)
        wrapper.type = 'mmwamim.GuardedOptimWrapper'
    if type_name(dict(type=wrapper.get('constructor'))) in (
            '', 'DefaultOptimWrapperConstructor'):
        wrapper.constructor = 'mmwamim.MergedOptimWrapperConstructor'
    hooks = default_hooks(cfg)
    if is_type(hooks.get('runtime_info') or dict(type='RuntimeInfoHook'), 'RuntimeInfoHook'):
        hooks['runtime_info'] = dict(type='mmwamim.DeferredInfoHook')
    hooks.setdefault('regroup', dict(type='mmwamim.RegroupHook'))
    for hook in cfg.get('custom_hooks') or []:
        if is_type(hook, 'EMAHook'):
            hook.type = 'mmwamim.GuardedEMAHook'


def settle_accumulation(cfg: Config) -> None:
    """Checks ``accumulative_counts``; :class:`mmwamim.engine.training.runner.TrainingRunner`
    scales rates with it.

    Raises:
        UserError: The number of accumulated steps is not a positive integer.
    """
    counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if not isinstance(counts, int) or counts < 1:
        raise UserError(f'optim_wrapper.accumulative_counts must be a positive integer, '
                         f'not {counts!r}')


def settle_sharding(cfg: Config, launcher: str) -> None:
    """What ``--fsdp`` needs besides its runner.

    Raises:
        UserError: There is one process alone.
    """
    if launcher == 'none':
        raise UserError(f'{option("fsdp", True)} shares out a model among processes: start '
                        'several with tools/dist_train.sh or tools/slurm_train.sh')
    add_hook(cfg, dict(type='mmwamim.ShardingHook'))
