"""What a run needs to know and a user need not say: each value with the reason for it."""
import os
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import torch
from mmengine.config import Config
from mmengine.utils import to_2tuple
from PIL import Image
from torch import Tensor, nn

from mmwamim.datasets.loading import UnreadableImage
from mmwamim.datasets.pixels import opened
from mmwamim.datasets.sources import Source
from mmwamim.engine.config.reading import hooks_of, is_type, type_name
from mmwamim.engine.training.measure import build_step
from mmwamim.errors import UserError
from mmwamim.interface.words import counted, option
from mmwamim.machine.cores import granted_cores
from mmwamim.machine.devices import best_device
from mmwamim.machine.memory import free_memory, saved_for_backward
from mmwamim.registry import HOOKS

# Patch, and levels of wavelets, of the recipes for images of at least so many pixels: the token
# grid is 7 x 7 or finer, and targets are 4, 2, 1 and 0.5 times as fine.
GEOMETRY = ((128, 16, (2, 3, 4, 5)), (48, 8, (1, 2, 3, 4)), (16, 4, (1, 2, 3, 4)))
LARGEST_SIDE = 4096
SIDES = (224, 96, 64, 32)
LOOKED_AT = 64  # images, for the size of all
# Steps that a run should have at least: on a GPU a few hours of a ViT-S, on a CPU a first look.
STEPS = dict(cuda=20_000, cpu=1_000)
LONGEST = 1600  # epochs: the longest schedule of the field
MOST = dict(cuda=256, cpu=64)  # images of a step and process
# The learning rate of configs/trials and configs/quickstart, which are short, for such a batch.
SHORT, TRIAL_RATE, TRIAL_BATCH = 2_000, 1e-3, 32
STEPS_AN_EPOCH = 16  # at least, since images that do not fill a batch are dropped


class Choice(NamedTuple):
    """A value that was settled, what it changes in the config, and why it is this one."""
    name: str
    value: object
    reason: str
    fields: dict


def describe(choices: Sequence[Choice]) -> str:
    """Lines for a terminal."""
    rows = [(one.name, str(one.value), one.reason) for one in choices]
    name, value = (max(len(row[column]) for row in rows) + 2 for column in range(2))
    return '\n'.join(['Chosen for this run (each can be set by an option):',
                      *(f'  {row[0]:<{name}}{row[1]:<{value}}{row[2]}' for row in rows)])


def place() -> str:
    """The device of this process of a run."""
    return f'cuda:{os.environ.get("LOCAL_RANK", 0)}' if best_device() == 'cuda' else 'cpu'


def choose_arch() -> Choice:
    if best_device() == 'cuda':
        return Choice('arch', 'vit_s', 'the smallest encoder of the paper; a GPU was found', {})
    return Choice('arch', 'vit_tiny', 'the smallest recipe; no GPU was found', {})


def choose_side(images: Source) -> Optional[Choice]:
    """The side of crops by the sizes of some images, spread over the set; None if they cannot be
    looked at."""
    sides = []
    for place in images.spread(LOOKED_AT):
        try:
            data = images.read(place)
            with Image.open(opened(images.key(place) if data is None else data)) as image:
                sides.append(min(image.size))
        except (OSError, ValueError, UnreadableImage, Image.DecompressionBombError):
            continue  # the run itself says what it leaves out
    if not sides:
        return None
    median = sorted(sides)[len(sides) // 2]
    # Enlarging costs steps and shows nothing new, up to a third it is what crops do anyway.
    side = next((side for side in SIDES if median * 4 >= side * 3), SIDES[-1])
    return Choice('image size', side, f'the short side of the images is {median} pixels (median '
                  f'of {len(sides)})', {})


def choose_size(cfg: Config, images: Source) -> Optional[Choice]:
    """The side of crops, with what it changes; None where the recipe stays as it is."""
    choice = choose_side(images)
    if choice is None:
        return None
    try:
        return choice._replace(fields=resize(cfg, choice.value))
    except UserError:  # a recipe of another kind, which knows its own size
        return None


def resize(cfg: Config, side: int) -> dict:
    """The fields that make a recipe one for images of another size; none if it is one already.

    Raises:
        UserError: The config's parts are others than those of our ViT recipes, or ``side`` does
            not fit them.
    """
    backbone = cfg.model.get('backbone') or {}
    if backbone.get('img_size') == side:
        return {}
    crops = [number for number, step in enumerate(cfg.train_dataloader.dataset.pipeline)
             if type_name(step) == 'RandomCropToTensor']
    if type_name(backbone) != 'MaskedViT' or not crops or type_name(
            cfg.model.get('target_generator') or {}) != 'WaveletTargetGenerator':
        raise UserError(f'{option("image_size", side)}: only the ViT recipes of configs/wamim '
                        'change their size by one number, and this encoder is for '
                        f'{backbone.get("img_size")} pixels; set model.backbone.img_size and the '
                        'crop of the pipeline')
    found = next((row for row in GEOMETRY if side >= row[0]), None)
    if found is None or side % 2**found[2][-1]:
        step = 2**(found or GEOMETRY[-1])[2][-1]
        raise UserError(f'{option("image_size")} must be a multiple of {step} here, and at least '
                        f'{GEOMETRY[-1][0]}, not {side}')
    if side > LARGEST_SIDE:
        raise UserError(f'{option("image_size")} must be {LARGEST_SIDE} at most, not {side}: every '
                        'pixel is held in memory')
    _, patch, levels = found
    growing = {place: HOOKS.build(hook).sizes for place, hook in hooks_of(cfg).items()
               if is_type(hook, 'ResolutionScheduleHook')}
    sizes = {f'{place}.sizes': tuple(
        # in proportion, up to whole cells of the coarsest level
        -(-to_2tuple(size)[0] * side // (to_2tuple(old[-1])[0] << levels[-1])) << levels[-1]
        for size in old) for place, old in growing.items()}
    return {'model.backbone.img_size': side, 'model.backbone.patch_size': patch,
            'model.mask_unit': patch, 'model.target_generator.levels': levels, **sizes,
            **{f'train_dataloader.dataset.pipeline.{number}.size': side for number in crops}}


def pretraining_memory(cfg: Config) -> Tuple[float, int]:
    """Bytes that a step keeps for an image, and bytes that do not depend on the batch: weights,
    gradients and two moments, float32.

    What is kept for the backward pass is counted in a forward pass of two images.
    """
    with torch.random.fork_rng(devices=[]):
        step = build_step(cfg, 2, place())
        return memory_of(step.forward, step.model, 2)


def memory_of(forward: Callable[[], Tensor], model: nn.Module, images: int) -> Tuple[float, int]:
    """As :func:`pretraining_memory`, of any model and a function that gives its loss."""
    kind = best_device()
    with torch.autocast(kind, torch.bfloat16, enabled=kind == 'cuda'):
        saved = saved_for_backward(forward, model)
    return saved / images, 16 * sum(parameter.numel() for parameter in model.parameters())


def choose_batch(memory: Tuple[float, int], images: int, processes: int = 1) -> Choice:
    """Images of a process and step: a power of two that fits half of the memory, or less where the
    set is small.

    Args:
        memory: From :func:`memory_of`.
        images: Of the set.
        processes: Of the run.
    """
    kind, (image, fixed) = best_device(), memory
    # Of a GPU the whole, which is the same for all processes of a machine.
    total = torch.cuda.get_device_properties(0).total_memory if kind == 'cuda' \
        else free_memory() // int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    fits = max(int((total / 2 - fixed) / image), 1)
    wanted = max(images // processes // STEPS_AN_EPOCH, 8)
    most = MOST[kind]
    batch = min(1 << (min(fits, wanted, most).bit_length() - 1), max(images // processes, 1))
    if batch >= most:
        why = 'as in the recipe' if kind == 'cuda' else 'small batches train faster on a CPU'
    elif fits <= wanted:
        why = 'what fits half of the memory'
    else:
        steps = counted(images // (batch * processes), 'step')
        why = f'{steps} per epoch of {counted(images, "image")}'
    if processes > 1:
        why = f'per process, of {processes}: {why}'
    return Choice('batch', batch, f'{why}; {image / 2**20:.0f} MiB per image, of '
                  f'{total / 2**30:.1f} GiB', {'train_dataloader.batch_size': batch})


def choose_workers(cfg: Config) -> Choice:
    """Processes that read images, for each process of the run."""
    cores = granted_cores()
    share = max(cores // int(os.environ.get('LOCAL_WORLD_SIZE', 1)), 1)
    if best_device() == 'cuda':
        workers = min(share, cfg.train_dataloader.get('num_workers') or 8)
        why = f'{counted(cores, "core")} available'
    else:
        workers = min(share // 2, 4)
        why = f'{counted(cores, "core")} available, shared with training'
    return Choice('workers', workers, why, {'train_dataloader.num_workers': workers})


def choose_epochs(cfg: Config, steps: int, enough: Optional[Dict[str, int]] = None) -> Choice:
    """As in the recipe, more where a set is small, and a first look on a CPU.

    Args:
        cfg: The recipe.
        steps: Of an epoch.
        enough: Steps that a run should have at least, by device. Default: those of pre-training.
    """
    kind, recipe = best_device(), cfg.train_cfg.get('max_epochs', 100)
    wanted = -(-(enough or STEPS)[kind] // steps)
    if kind == 'cpu':
        epochs = min(wanted, LONGEST)
        why = f'{counted(epochs * steps, "step")}, {steps:,} per epoch: a first look on a CPU'
    elif wanted <= recipe:
        epochs, why = recipe, 'as in the recipe'
    else:
        epochs = min(wanted, LONGEST)
        why = f'{counted(epochs * steps, "step")}, {steps:,} per epoch: the set is small'
    return Choice('epochs', epochs, why, {})


def choose_rate(cfg: Config, batch: int, steps: int = 0) -> Optional[Choice]:
    """The recipe's learning rate for a smaller batch, by the square root of their ratio, as Adam's
    steps want it (Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient
    Algorithms"); at least that of the trials for a run that is short. None where the batch is the
    recipe's, or the recipe does not scale.

    Args:
        cfg: The recipe.
        batch: Images of an update.
        steps: Of the run; 0: many.
    """
    scaling = cfg.get('auto_scale_lr') or {}
    base, full = scaling.get('base_batch_size'), cfg.optim_wrapper.optimizer.lr
    if not scaling.get('enable') or not base or batch >= base:
        return None
    rate, why = full * (batch / base)**0.5, f'{full:g} x sqrt({batch} / {base})'
    trial = TRIAL_RATE * min((batch / TRIAL_BATCH)**0.5, 1.)
    if 0 < steps <= SHORT and trial > rate:
        rate, why = trial, (f'a short run, of {counted(steps, "step")}: {TRIAL_RATE:g} for a batch '
                            f'of {TRIAL_BATCH}')
    return Choice('learning rate', float(f'{rate:.3g}'), why, {
        'optim_wrapper.optimizer.lr': float(f'{rate:.3g}'), 'auto_scale_lr.enable': False})


def choose_checkpoints(epochs: int) -> Optional[Choice]:
    """Twenty checkpoints where a run has more epochs; None where every epoch may have its own."""
    interval = -(-epochs // 20)
    if interval == 1:
        return None
    return Choice('checkpoints', f'every {interval}', 'in epochs; the last three are kept',
                  {'default_hooks.checkpoint.interval': interval})
