"""What a run says at its start: every figure from the objects that it trains with."""
import subprocess
from pathlib import Path
from typing import Dict, List, Optional

import mmengine
import mmpretrain
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from mmpretrain.models import BaseSelfSupervisor, ImageClassifier
from torch import nn

from mmwamim.errors import UserError
from mmwamim.evaluation.features import image_side
from mmwamim.registry import HOOKS
from mmwamim.version import __version__

from .progress import Layout


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Prints what was resolved, just before the first step.

    Raises:
        mmwamim.errors.UserError: At the first step, if the images have another size than that for
            which the encoder of a classifier or of pre-training has positions.
    """

    priority = 'VERY_LOW'

    def before_run(self, runner: Runner) -> None:
        _scale_base_rate(runner)

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        _check_first_images(model)
        if not is_main_process():
            return
        lines = [f'  {name:<14}{value}' for name, value in summary(runner, model).items()]
        runner.logger.info('This run:\n' + '\n'.join(lines))


def summary(runner: Runner, model: nn.Module) -> Dict[str, object]:
    """What a run that is about to start will do, by name."""
    layout, loader, wrapper = Layout.of(runner), runner.train_dataloader, runner.optim_wrapper
    device = next(model.parameters()).device.type
    batch = f'{layout.batch} images x {layout.processes} processes'
    if layout.accumulation > 1:
        batch += f' x {layout.accumulation} accumulated'
    return {
        'config': runner.cfg.filename,
        'images': f'{layout.images} in {getattr(loader.dataset, "data_root", "")}',
        'encoder': _describe_encoder(model),
        'model': type(model).__name__,
        'target': _describe_target(model),
        'batch': f'{layout.images_a_step * layout.accumulation} = {batch}',
        'learning rate': _describe_rate(runner, layout.images_a_step * layout.accumulation),
        'length': _describe_length(runner, layout),
        'precision': f'{getattr(wrapper, "cast_dtype", None) or torch.float32} on {device}'
                     .replace('torch.', ''),
        'seed': runner.seed,
        'versions': f'mmwamim {__version__}{_commit()}, torch {torch.__version__}, mmengine '
                    f'{mmengine.__version__}, mmpretrain {mmpretrain.__version__}',
        'work dir': runner.work_dir,
        'log': runner.log_dir,
    }


def _describe_encoder(model: nn.Module) -> str:
    encoder = model.backbone
    size = sum(parameter.numel() for parameter in encoder.parameters())
    text = f'{type(encoder).__name__}, {size / 1e6:.1f} M parameters'
    trained = sum(parameter.numel() for parameter in encoder.parameters()
                  if parameter.requires_grad)
    if not trained:
        text += ', frozen'
    return text if _side(encoder) is None else f'{text}, for images of {_side(encoder)} pixels'


def _side(encoder: nn.Module) -> Optional[int]:
    try:
        return image_side(encoder)
    except AttributeError:  # of another package, which does not say
        return None


def _describe_target(model: nn.Module) -> str:
    target = getattr(model, 'target_generator', None)
    if hasattr(target, 'level_names'):
        return f'{type(target).__name__}, levels {", ".join(target.level_names)}'
    if target is not None:
        return type(target).__name__
    return 'its own' if isinstance(model, BaseSelfSupervisor) else 'labels'


def _describe_length(runner: Runner, layout: Layout) -> str:
    if layout.counts == 'epochs':
        text = f'{runner.max_epochs} epochs of {layout.steps} steps'
        return f'{text}, {runner.epoch} of them done' if runner.iter else text
    epochs = runner.max_iters * layout.images_a_step / layout.images
    text = f'{runner.max_iters} steps, {epochs:.3g} times through the images'
    return f'{text}; {runner.iter} steps are done' if runner.iter else text


def _describe_rate(runner: Runner, batch: int) -> str:
    """The highest rate of any parameter, the base rate it follows from (per 256 images), that of
    the slowest parameters where it differs, and what the schedules end with."""
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        return 'of several optimizers'
    rates = [group.get('initial_lr', group['lr'])
             for group in runner.optim_wrapper.optimizer.param_groups if group['params']]
    peak, low = max(rates), min(rates)
    text = f'{peak:.3g} at its peak = {peak * 256 / batch:.3g} x {batch} / 256'
    if low < peak:
        text += f' ({low:.3g} in the slowest layers)'
    last = _last_rate(runner.param_schedulers or [], peak)
    return text if last is None else f'{text}, {last:.3g} at its end'


def _last_rate(schedulers: List, peak: float) -> Optional[float]:
    """The rate after the last step; None for a schedule that is not known here."""
    rate = peak
    for scheduler in sorted((s for s in schedulers if s.param_name == 'lr'), key=lambda s: s.end):
        kind = type(scheduler).__name__
        if kind.startswith(('Cosine', 'Poly')) and 'Restart' not in kind:
            ratio = getattr(scheduler, 'eta_min_ratio', None)
            rate = scheduler.eta_min if ratio is None else peak * ratio
        elif kind.startswith('Linear'):
            rate *= scheduler.end_factor
        elif kind.startswith('MultiStep'):
            times = sum(count for step, count in scheduler.milestones.items()
                        if step < scheduler.end - scheduler.begin)
            rate *= scheduler.gamma**times
        elif not kind.startswith('Constant'):
            return None
    return rate


def _scale_base_rate(runner: Runner) -> None:
    """Scales the rate that is logged as ``base_lr``, which MMEngine leaves out."""
    scaling, wrapper = runner.auto_scale_lr or {}, runner.optim_wrapper
    base = getattr(wrapper, 'base_param_settings', None)
    if not scaling.get('enable') or base is None or isinstance(runner._train_loop, dict):
        return
    ratio = Layout.of(runner).images_a_step / scaling['base_batch_size']
    for name in ('lr', 'initial_lr'):
        if name in base:
            base[name] *= ratio
    for scheduler in runner.param_schedulers or []:
        if scheduler.param_name == 'lr':
            scheduler.base_values[-1] *= ratio


def _check_first_images(model: nn.Module) -> None:
    """Looks at the size of the first images that the encoder gets, then at no other."""
    encoder = getattr(model, 'backbone', None)
    side = _side(encoder) if isinstance(model, (BaseSelfSupervisor, ImageClassifier)) else None
    if side is None or getattr(encoder, 'pos_embed', None) is None:
        return

    def look(module: nn.Module, arguments: tuple) -> None:
        handle.remove()
        size = tuple(arguments[0].shape[-2:]) if arguments and torch.is_tensor(arguments[0]) else ()
        known = getattr(module, 'img_size', side)
        known = (known, known) if isinstance(known, int) else tuple(known)
        if size and size != known:
            raise UserError(
                f'model.backbone.img_size is {known[0]} x {known[1]}, but the pipeline makes '
                f'images of {size[0]} x {size[1]} pixels: give both the same size (img_size, and '
                'the crop in train_dataloader.dataset.pipeline)')

    handle = encoder.register_forward_pre_hook(look)


def _commit() -> str:
    """The commit of the source tree, if it is one of git's; not that of a repository around an
    installed package."""
    package = Path(__file__).resolve().parents[2]

    def git(*words: str) -> Optional[str]:
        try:
            done = subprocess.run(['git', '-C', str(package), *words], capture_output=True,
                                  text=True, check=False)
        except OSError:  # no git
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    root = git('rev-parse', '--show-toplevel')
    if root is None or Path(root).resolve() != package.parent \
            or git('ls-files', '--error-unmatch', 'version.py') is None:
        return ''
    return f' ({git("describe", "--always", "--dirty")})'
