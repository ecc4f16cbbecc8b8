"""What a run says at its start: every figure from the objects that it trains with."""
import subprocess
from pathlib import Path
from typing import Dict, Optional, Tuple

import mmengine
import mmpretrain
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmpretrain.models import BaseSelfSupervisor, ImageClassifier
from torch import nn

from mmwamim.errors import UserError
from mmwamim.evaluation.features import image_size
from mmwamim.interface.words import counted
from mmwamim.registry import HOOKS
from mmwamim.version import __version__

from .progress import Layout
from .resolution import ResolutionScheduleHook
from .schedules import last_rate

FARTHEST = 2_000_000  # steps, which are stepped through one by one


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Prints what was resolved, just before the first step.

    Raises:
        mmwamim.errors.UserError: At the first step, if the images have another size than that for
            which the encoder of a classifier or of pre-training has positions.
    """

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        _check_first_images(runner, model)
        if not is_main_process():
            return
        lines = [f'  {name:<14}{value}' for name, value in summary(runner, model).items()]
        runner.logger.info('This run:\n' + '\n'.join(lines))


def summary(runner: Runner, model: nn.Module) -> Dict[str, object]:
    """What a run that is about to start will do, by name."""
    layout, loader, wrapper = Layout.of(runner), runner.train_dataloader, runner.optim_wrapper
    device = next(model.parameters()).device.type
    batch = f'{counted(layout.batch, "image")} x {counted(layout.processes, "process")}'
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
        'precision': f'{_precision(wrapper, device)} on {device}'.replace('torch.', ''),
        'seed': runner.seed,
        'versions': f'mmwamim {__version__}{_commit()}, torch {torch.__version__}, mmengine '
                    f'{mmengine.__version__}, mmpretrain {mmpretrain.__version__}',
        'work dir': runner.work_dir,
        'log': runner.log_dir,
    }


def _precision(wrapper: OptimWrapper, device: str) -> torch.dtype:
    """That of the networks' products and convolutions."""
    dtype = getattr(wrapper, 'cast_dtype', None)
    if dtype is None and isinstance(wrapper, AmpOptimWrapper):  # autocast's own
        return torch.get_autocast_dtype(device)
    return dtype or torch.float32


def _describe_encoder(model: nn.Module) -> str:
    encoder = getattr(model, 'backbone', model)
    size = sum(parameter.numel() for parameter in encoder.parameters())
    text = f'{type(encoder).__name__}, {size / 1e6:.1f} M parameters'
    trained = sum(parameter.numel() for parameter in encoder.parameters()
                  if parameter.requires_grad)
    if not trained:
        text += ', frozen'
    size = _size(encoder)
    if size is None:
        return text
    side = f'{size[0]} pixels' if size[0] == size[1] else f'{size[0]} x {size[1]} pixels'
    return f'{text}, for images of {side}'


def _size(encoder: nn.Module) -> Optional[Tuple[int, int]]:
    """(H, W) of the images that an encoder was built for; None if it does not say."""
    try:
        return image_size(encoder)
    except AttributeError:  # of another package
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
        text = f'{counted(runner.max_epochs, "epoch")} of {counted(layout.steps, "step")}'
        return f'{text}, {counted(runner.epoch, "epoch")} done' if runner.iter else text
    epochs = runner.max_iters * layout.images_a_step / layout.images
    text = f'{counted(runner.max_iters, "step")}, {epochs:.3g} epochs'
    return f'{text}; {counted(runner.iter, "step")} done' if runner.iter else text


def _describe_rate(runner: Runner, batch: int) -> str:
    """The highest rate of any parameter, the base rate it follows from (per 256 images), that of
    the slowest parameters where it differs, and that of the last step."""
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        return 'of several optimizers'
    rates = [group.get('initial_lr', group['lr'])
             for group in runner.optim_wrapper.optimizer.param_groups if group['params']]
    peak, low = max(rates), min(rates)
    text = f'{peak:.3g} at its peak = {peak * 256 / batch:.3g} x {batch} / 256'
    if low < peak:
        text += f' ({low:.3g} in the slowest layers)'
    last = _last_rate(runner)
    return text if last is None else f'{text}, {last:.3g} in the last step'


def _last_rate(runner: Runner) -> Optional[float]:
    """The rate of the last step; None where it follows from validations, or is so far off that
    going there takes minutes."""
    schedulers = runner.param_schedulers or []
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers) \
            or runner.max_iters - runner.iter > FARTHEST:
        return None
    epoch = len(runner.train_dataloader) if Layout.of(runner).counts == 'epochs' \
        else runner.max_iters  # which is one epoch, as MMEngine sees it
    return last_rate(schedulers, runner.optim_wrapper, runner.iter, runner.max_iters, epoch)


def _scheduled_size(runner: Runner) -> Optional[Tuple[int, int]]:
    """(H, W) of the images of this epoch, where their size follows the epoch."""
    for hook in runner.hooks:
        if isinstance(hook, ResolutionScheduleHook):
            return (hook.size_at(runner.epoch, runner.max_epochs), ) * 2
    return None


def _check_first_images(runner: Runner, model: nn.Module) -> None:
    """Looks at the size of the first images that the encoder gets, then at no other."""
    encoder = getattr(model, 'backbone', None)
    known = _size(encoder) if isinstance(model, (BaseSelfSupervisor, ImageClassifier)) else None
    if known is None or getattr(encoder, 'pos_embed', None) is None:
        return

    def look(module: nn.Module, arguments: tuple) -> None:
        handle.remove()
        size = tuple(arguments[0].shape[-2:]) if arguments and torch.is_tensor(arguments[0]) else ()
        if size and size != (_scheduled_size(runner) or known):
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
