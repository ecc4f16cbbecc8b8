"""The loop of a config, and its length."""
from mmengine.config import Config

from mmwamim.errors import UserError
from mmwamim.interface.words import option

from .loaders import add_hook
from .reading import default_hooks, is_type, type_name

LOOPS = dict(EpochBasedTrainLoop=True, IterBasedTrainLoop=False)  # whether epochs are counted


def settle_loop(cfg: Config) -> None:
    """Puts parts that can stop and go on inside an epoch, write whole files and say what they do,
    where a config has MMEngine's: any config of mmpretrain, mmdet or mmseg is as safe as ours."""
    loop, loader = cfg.get('train_cfg'), cfg.get('train_dataloader')
    if loop is None or loader is None:
        return
    kind = type_name(loop)
    by_epoch = LOOPS.get(kind) if kind else loop.get('by_epoch')
    if by_epoch is not None:
        loop.pop('by_epoch', None)
        loop.type = f'mmwamim.Resumable{"Train" if by_epoch else "Iter"}Loop'
        _settle_sampler(loader, by_epoch)
    checkpoint = default_hooks(cfg).get('checkpoint', dict(type='CheckpointHook', interval=1))
    if checkpoint and is_type(checkpoint, 'CheckpointHook') \
            and '://' not in str(checkpoint.get('out_dir')):
        cfg.default_hooks.checkpoint = dict(checkpoint, type='mmwamim.AtomicCheckpointHook')
    for hook in (dict(type='mmwamim.RunSummaryHook'), dict(type='mmwamim.ResumeHook'),
                 dict(type='mmwamim.PreemptionHook', interval=10)):
        add_hook(cfg, hook)


def _settle_sampler(loader: dict, by_epoch: bool) -> None:
    sampler, batches = loader.get('sampler') or {}, loader.get('batch_sampler')
    if is_type(sampler, 'DefaultSampler') or is_type(sampler, 'InfiniteSampler'):
        loader['sampler'] = dict(
            type=f'mmwamim.Resumable{"Sampler" if by_epoch else "Stream"}',
            shuffle=sampler.get('shuffle', True), seed=sampler.get('seed'))
        if batches and by_epoch and not is_type(batches, 'ResumableBatches'):
            loader['batch_sampler'] = dict(type='mmwamim.ResumableBatches', batches=dict(batches))


def settle_length(cfg: Config, epochs: int = None) -> None:
    """Makes a run of ``epochs`` epochs, with warm-up and decay in the config's proportions.

    Raises:
        UserError: ``epochs`` is not positive, or the config counts iterations.
    """
    if epochs is None:
        return
    if epochs < 1:
        raise UserError(f'{option("epochs")} must be at least 1, not {epochs}')
    if 'max_epochs' not in cfg.train_cfg:
        raise UserError('this config counts iterations: set train_cfg.max_iters=N in place of '
                        f'{option("epochs")}')
    scale = epochs / cfg.train_cfg.max_epochs
    cfg.train_cfg.max_epochs = epochs
    schedulers = cfg.get('param_scheduler') or []
    if isinstance(schedulers, dict) and 'type' in schedulers:
        cfg.param_scheduler = schedulers = [schedulers]
    if isinstance(schedulers, dict):
        raise UserError(f'{option("epochs")} does not know the schedules of several optimizers: '
                        'set train_cfg.max_epochs and param_scheduler in its place')
    for scheduler in schedulers:
        if not scheduler.get('by_epoch', True):
            continue  # a warm-up in iterations does not depend on the length
        begin, end = scheduler.get('begin', 0), scheduler.get('end')
        whole = end is not None and scheduler.get('T_max') == end - begin
        for field in ('begin', 'end', 'T_max'):
            if field in scheduler:
                scheduler[field] = round(scheduler[field] * scale)
        if whole:  # rounded by itself it could end before the run, and the rate would rise again
            scheduler.T_max = max(scheduler.end - scheduler.get('begin', 0), 1)
        if 'milestones' in scheduler:
            scheduler.milestones = [round(step * scale) for step in scheduler.milestones]
    # A warm-up that rounds to nothing is no phase at all.
    cfg.param_scheduler = [s for s in schedulers if s.get('end', 1) > s.get('begin', 0)]
