"""What a run says at its start and leaves at its end."""
import subprocess
from pathlib import Path
from typing import Dict

import mmengine
import mmpretrain
import torch
from mmengine.dist import get_world_size, is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.models import BaseSelfSupervisor
from torch import Tensor

from mmwamim.registry import HOOKS
from mmwamim.version import __version__

from .sharding import gather

PREFIX = 'backbone.'


def encoder_state(model: torch.nn.Module) -> Dict[str, Tensor]:
    """The encoder's part of a model's state dict, on the CPU, keys with prefix ``backbone.``.

    Every process must call it: the weights may be shared out among them.
    """
    model = model.module if is_model_wrapper(model) else model
    return gather({name: value for name, value in model.state_dict().items()
                   if name.startswith(PREFIX)})


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Prints what was resolved, just before the first step."""

    priority = 'VERY_LOW'

    @master_only
    def before_train(self, runner: Runner) -> None:
        loader, wrapper = runner.train_dataloader, runner.optim_wrapper
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        batch, processes = loader.batch_sampler.batch_size, get_world_size()
        accumulated = getattr(wrapper, '_accumulative_counts', 1)
        peak = max(max(scheduler.base_values) for scheduler in runner.param_schedulers) \
            if runner.param_schedulers else wrapper.get_lr()['lr'][0]
        precision = getattr(wrapper, 'cast_dtype', None)
        device = next(model.parameters()).device.type
        rows = {
            'config': runner.cfg.filename,
            'images': f'{len(loader.dataset)} in {getattr(loader.dataset, "data_root", "")}',
            'encoder': f'{type(model.backbone).__name__}, '
                       f'{sum(p.numel() for p in model.backbone.parameters()) / 1e6:.1f} M '
                       'parameters',
            'model': type(model).__name__,
            'target': _describe_target(model),
            'batch': f'{batch * processes * accumulated} = {batch} images x {processes} processes'
                     + (f' x {accumulated} accumulated' if accumulated > 1 else ''),
            'learning rate': _describe_rate(runner, peak, batch * processes * accumulated),
            'length': f'{runner.max_epochs} epochs of {len(loader)} steps'
                      if runner.train_loop.__class__.__name__.startswith('Epoch')
                      else f'{runner.max_iters} steps',
            'precision': f'{precision or torch.float32} on {device}'.replace('torch.', ''),
            'seed': runner.seed,
            'versions': f'mmwamim {__version__}{_commit()}, torch {torch.__version__}, mmengine '
                        f'{mmengine.__version__}, mmpretrain {mmpretrain.__version__}',
            'work dir': runner.work_dir,
            'log': runner.log_dir,
        }
        lines = [f'  {name:<14}{value}' for name, value in rows.items()]
        runner.logger.info('This run:\n' + '\n'.join(lines))


def _describe_target(model: torch.nn.Module) -> str:
    target = getattr(model, 'target_generator', None)
    if hasattr(target, 'level_names'):
        return f'{type(target).__name__}, levels {", ".join(target.level_names)}'
    if target is not None:
        return type(target).__name__
    return 'its own' if isinstance(model, BaseSelfSupervisor) else 'labels'


def _describe_rate(runner: Runner, peak: float, batch: int) -> str:
    """The effective rate, the base rate it follows from (per 256 images), and the last one."""
    last = min((getattr(scheduler, 'eta_min', None) or 0. for scheduler in runner.param_schedulers
                or [] if hasattr(scheduler, 'eta_min')), default=peak)
    base = peak * 256 / batch
    return f'{peak:.3g} at its peak = {base:.3g} x {batch} / 256, {last:.3g} at its end'


def _commit() -> str:
    """The commit of the source tree, if it is one of git's."""
    done = subprocess.run(['git', '-C', str(Path(__file__).parent), 'describe', '--always',
                           '--dirty'], capture_output=True, text=True, check=False)
    return f' ({done.stdout.strip()})' if done.returncode == 0 else ''


@HOOKS.register_module()
class DataWaitHook(Hook):
    """Warns once if the steps wait for data.

    Args:
        share: Of a step's time, from 0 to 1, that may be spent waiting.
        interval: Steps over which it is averaged.
    """

    def __init__(self, share: float = 0.2, interval: int = 50) -> None:
        self.share, self.interval, self.warned = share, interval, False
        self.waited, self.spent = 0., 0.

    def after_train_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        if batch_idx == 0:
            return  # the workers have just started
        scalars = runner.message_hub.log_scalars
        self.waited += scalars['train/data_time'].current()
        self.spent += scalars['train/time'].current()
        if not self.every_n_train_iters(runner, self.interval):
            return
        share = self.waited / max(self.spent, 1e-9)
        self.waited, self.spent = 0., 0.
        if share > self.share and not self.warned:
            self.warned = True
            runner.logger.warning(
                f'{share:.0%} of the last {self.interval} steps was spent waiting for data: raise '
                f'train_dataloader.num_workers (now {runner.train_dataloader.num_workers}), up to '
                'the number of cores for each process, or put the images on a faster disk')


@HOOKS.register_module()
class EncoderExportHook(Hook):
    """Writes the encoder alone as ``encoder.pth`` when training ends, and says what to do next.

    The file holds ``state_dict`` with keys ``backbone.*``, so ``prefix='backbone.'`` reads it and
    the full checkpoints alike, and ``meta`` with the config that made it.

    Args:
        filename: Name of the file in the work directory.
    """

    priority = 'VERY_LOW'  # after the last full checkpoint

    def __init__(self, filename: str = 'encoder.pth') -> None:
        self.filename = filename

    def after_train(self, runner: Runner) -> None:
        state = encoder_state(runner.model)
        if not is_main_process():
            return
        path = Path(runner.work_dir) / self.filename
        meta = dict(config=runner.cfg.pretty_text, epoch=runner.epoch, iter=runner.iter)
        torch.save(dict(meta=meta, state_dict=state), path)
        config = runner.cfg.filename
        last = sorted((path for pattern in ('epoch_*.pth', 'iter_*.pth')
                       for path in Path(runner.work_dir).glob(pattern)),
                      key=lambda path: path.stat().st_mtime)
        checkpoint = last[-1] if last else 'CHECKPOINT'
        runner.logger.info('\n'.join([
            f'The encoder alone is in {path}. Next:',
            '  look at the losses',
            f'    python tools/analysis/plot_log.py {runner.work_dir}',
            '  look at reconstructions',
            f'    python tools/analysis/show_reconstruction.py {config} {checkpoint} IMAGES',
            '  use it as the backbone of any mmpretrain, mmdet or mmseg config',
            f"    init_cfg=dict(type='Pretrained', checkpoint='{path}', prefix='{PREFIX}')",
        ]))
