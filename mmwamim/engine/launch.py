"""What tools/train.py and tools/test.py settle before MMEngine's Runner starts."""
import os
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config

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
    if amp and torch.cuda.is_available() and wrapper.get('type') != 'AmpOptimWrapper':
        wrapper.update(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=dict(enabled=False))
    if not torch.cuda.is_available() and wrapper.get('type') == 'AmpOptimWrapper':
        for field in ('dtype', 'loss_scale', 'use_fsdp'):
            wrapper.pop(field, None)
        wrapper['type'] = 'OptimWrapper'


def settle_processes(cfg: Config, launcher: str) -> None:
    """NCCL with GPUs; gloo, and what makes a CPU faster, without. Starts the process group itself
    where there is no GPU, which MMEngine cannot (it sets a CUDA device first).

    Raises:
        SystemExit: This machine has fewer GPUs than processes.
    """
    cfg.launcher = launcher
    share = max((os.cpu_count() or 1) // int(os.environ.get('LOCAL_WORLD_SIZE', 1)), 1)
    for name in LOADERS:
        if cfg.get(name):  # more loader workers than cores only get in each other's way
            cfg[name].num_workers = min(cfg[name].get('num_workers', 0), share)
    if torch.cuda.is_available():
        local = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
        if local > torch.cuda.device_count():
            raise SystemExit(f'error: {local} processes were asked for, but this machine has '
                             f'{torch.cuda.device_count()} GPUs')
        return
    cfg.env_cfg.dist_cfg = dict(backend='gloo')
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='mmwamim.CPUHook')]
    _replace_type(cfg.model, 'SyncBN', 'BN')  # there is none for the CPU
    for name in LOADERS:
        if cfg.get(name):
            cfg[name].pin_memory = False
    if launcher == 'none':
        return
    if launcher == 'slurm':
        os.environ.update(RANK=os.environ['SLURM_PROCID'], WORLD_SIZE=os.environ['SLURM_NTASKS'],
                          LOCAL_RANK=os.environ['SLURM_LOCALID'])
        os.environ.setdefault('MASTER_ADDR', os.environ.get('SLURM_LAUNCH_NODE_IPADDR',
                                                            '127.0.0.1'))
        os.environ.setdefault('MASTER_PORT', '29500')
    torch.distributed.init_process_group('gloo')
    # device_ids must be None on the CPU, where MMEngine by itself gives the local rank.
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))


def part_processes() -> None:
    """Ends the process group when all have come here: one that leaves early breaks the others."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def settle_sharding(cfg: Config, launcher: str) -> None:
    """What ``--fsdp`` needs besides its runner.

    Raises:
        SystemExit: There is one process alone.
    """
    if launcher == 'none':
        raise SystemExit('error: --fsdp shares out a model among processes: start several with '
                         'tools/dist_train.sh or tools/slurm_train.sh')
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='mmwamim.ShardingHook')]


def _replace_type(config, old: str, new: str) -> None:
    """Replaces a ``type`` everywhere in a nested config, in place."""
    for value in config.values() if isinstance(config, dict) else config:
        if isinstance(value, (dict, list, tuple)):
            _replace_type(value, old, new)
    if isinstance(config, dict) and config.get('type') == old:
        config['type'] = new


def settle_length(cfg: Config, epochs: int = None) -> None:
    """Makes a run of ``epochs`` epochs, with warm-up and decay in the config's proportions.

    Raises:
        SystemExit: ``epochs`` is not positive, or the config counts iterations.
    """
    if epochs is None:
        return
    if epochs < 1:
        raise SystemExit(f'error: --epochs must be at least 1, not {epochs}')
    if 'max_epochs' not in cfg.train_cfg:
        raise SystemExit('error: this config counts iterations: set them with --cfg-options '
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
        SystemExit: The number of accumulated steps is not a positive integer.
    """
    counts = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    if not isinstance(counts, int) or counts < 1:
        raise SystemExit(f'error: optim_wrapper.accumulative_counts must be a positive integer, '
                         f'not {counts!r}')
    scaling = cfg.get('auto_scale_lr')
    if scaling and counts > 1:
        # The rate is multiplied by batch x processes / base: a smaller base stands for the counts.
        scaling.base_batch_size = scaling.base_batch_size / counts
