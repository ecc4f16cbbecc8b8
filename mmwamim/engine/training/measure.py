"""Measures pre-training steps: time, memory, parameters, FLOPs, share of the matrix rate."""
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, MODELS, init_default_scope
from PIL import Image
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmwamim.datasets.crop import Size
from mmwamim.errors import UserError
from mmwamim.weights.card import preprocessor_of

from ..config.data import UNLABELLED
from ..config.reading import hooks_of, is_type, type_name
from ..config.step import settle_step
from ..optim.guarded import GuardedOptimWrapper
from .cpu import fast_linear, linear
from .resolution import NEEDS_EPOCHS, crop_of


class Step(NamedTuple):
    """A model on its device, and a function that does one forward pass and returns its loss."""
    model: nn.Module
    forward: Callable[[], Tensor]
    images: int
    """Images of the batch; views of the same image count once."""


def build_step(cfg: Config, batch: int, device: str = 'cpu', part: str = 'model',
               plain: bool = False, size: Optional[Size] = None) -> Step:
    """The training step of a pre-training config on noise that went through its own pipeline.

    Args:
        cfg: A pre-training config. Weights that it would download are left random: they do not
            change the time.
        batch: Images a step.
        device: 'cpu', 'cuda', ...
        part: 'model' for the whole step, 'encoder' for the encoder alone on visible patches,
            'dense encoder' for the encoder on all patches.
        plain: On the CPU leaves linear layers to PyTorch where the model does, instead of taking
            the faster ones that ``tools/train.py`` takes for every model.
        size: Of the images, as where they grow; default: the config's.
    """
    init_default_scope(cfg.get('default_scope') or 'mmpretrain')
    cfg = Config(cfg._cfg_dict.to_dict(), filename=cfg.filename)
    for name in ('backbone', 'target_generator'):
        init_cfg = (cfg.model.get(name) or {}).get('init_cfg')
        if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
            cfg.model[name].init_cfg = None
    MessageHub.get_current_instance().update_info('max_iters', 10**6)  # moving averages ask for it
    model = MODELS.build(dict(cfg.model, data_preprocessor=preprocessor_of(cfg)))
    model = model.to(device).train()
    data = model.data_preprocessor(noise_batch(cfg, batch, size), training=True)
    inputs, samples = data['inputs'], data.get('data_samples')
    if part == 'model':
        def forward() -> Tensor:
            with fast_linear(not plain):
                losses = model.loss(inputs, samples)
            return sum(loss for name, loss in losses.items() if 'loss' in name)
        return Step(model, forward, batch)

    def encode() -> Tensor:
        plan = None if part == 'dense encoder' else model.plan_mask(inputs)
        with fast_linear(not plain):
            features = model.backbone(inputs, plan)
        return sum(level.float().mean() for level in features)
    return Step(model.backbone, encode, batch)


def noise_batch(cfg: Config, batch: int, size: Optional[Size] = None) -> dict:
    """A batch of smooth noise through the config's own training pipeline; where it says
    ``channels``, :func:`mmwamim.engine.config.channel_data.settle_channels` went before.

    Raises:
        UserError: The config is none of pre-training on images, or has no crop that takes another
            ``size``.
    """
    images = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    if type_name(images) != UNLABELLED:
        raise UserError(f'{cfg.filename or "this config"}: steps of pre-training are measured, on '
                        f'train_dataloader.dataset of type mmwamim.{UNLABELLED}, not of '
                        f'{type_name(images)!r}')
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for i in range(2):
            pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((320, 240), Image.BICUBIC)
            if cfg.get('channels'):
                grey = np.asarray(image)[..., :1]
                np.save(Path(folder, f'{i}.npy'), np.repeat(grey, cfg.channels, axis=2))
            else:
                image.save(Path(folder, f'{i}.jpg'))
        dataset = {key: value for key, value in images.items()
                   if key not in ('indices', 'column', 'label_column')}
        made = DATASETS.build(dict(dataset, data_root=folder))
        if size is not None:
            crop_of(made).size = size
        samples = [made[i % 2] for i in range(batch)]
        if not isinstance(samples[0], dict) or 'inputs' not in samples[0]:
            raise UserError('train_dataloader.dataset.pipeline gives no inputs: its last step must '
                            'be mmpretrain.PackInputs, or another one that packs them')
        return default_collate(samples)


def build_update(step: Step, cfg: Config, amp: bool = False) -> GuardedOptimWrapper:
    """What follows a forward pass in training: backward pass, norm of the gradient, finite check
    and the config's optimizer. Nothing is clipped, so that methods which differ in that compare.

    Args:
        step: Of the whole model.
        cfg: The config of the step.
        amp: Whether networks run in bfloat16.
    """
    cfg = Config(dict(optim_wrapper=cfg._cfg_dict.to_dict()['optim_wrapper']))
    settle_step(cfg)
    cfg.optim_wrapper.update(type='mmwamim.GuardedOptimWrapper', clip_grad=None,
                             accumulative_counts=1, dtype='bfloat16' if amp else None)
    return build_optim_wrapper(step.model, cfg.optim_wrapper)


def run_step(step: Step, device: str = 'cpu', amp: bool = False,
             update: Optional[GuardedOptimWrapper] = None) -> float:
    """Forward and backward, with ``update`` the rest of a training step too; its seconds."""
    wait = torch.cuda.synchronize if device.startswith('cuda') else lambda: None
    wait()
    started = time.perf_counter()
    launch_step(step, device, amp, update)
    wait()
    seconds = time.perf_counter() - started
    step.model.zero_grad(set_to_none=True)
    return seconds


def launch_step(step: Step, device: str = 'cpu', amp: bool = False,
                update: Optional[GuardedOptimWrapper] = None) -> None:
    """As :func:`run_step`, without waiting for the device."""
    if update is None:
        with torch.autocast(device.split(':')[0], dtype=torch.bfloat16, enabled=amp):
            loss = step.forward()
        loss.backward()
        return
    with update.optim_context(step.model):
        loss = step.forward()
    update.update_params(loss)


def count_flops(step: Step) -> float:
    """Floating-point operations of forward and backward, an image.

    A multiplication with its addition counts two. Matrix products, convolutions and attention
    count; what is done element by element does not.
    """
    # Only the plain attention is made of products that the counter sees on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step.forward().backward()
    step.model.zero_grad(set_to_none=True)
    return counter.get_total_flops() / step.images


def count_flops_in_batch(small: Step, larger: Step, batch: int) -> float:
    """Floating-point operations an image of a step with ``batch`` images, of two small steps.

    What the images of a batch share, such as the products of decoders' positions, is divided
    among them, so it weighs less in a larger batch.

    Args:
        small: A step, say of 2 images.
        larger: The same with more images.
        batch: Images of the step in question.
    """
    few, more = (count_flops(step) * step.images for step in (small, larger))
    one = (more - few) / (larger.images - small.images)
    return one + (few - one * small.images) / batch


def sizes_of_run(cfg: Config) -> Dict[Size, float]:
    """Sizes of the images of a run, in pixels, and the share of its epochs that each has.

    Empty where :class:`~mmwamim.engine.training.resolution.ResolutionScheduleHook` is not used:
    all images have the size of the config.

    Raises:
        UserError: The hook is used, and the run's length is not given in epochs.
    """
    for hook in hooks_of(cfg).values():
        if is_type(hook, 'ResolutionScheduleHook'):
            epochs = cfg.train_cfg.get('max_epochs')
            if not epochs:
                raise UserError(NEEDS_EPOCHS)
            schedule = HOOKS.build(hook)  # whose sizes may come again
            counts = Counter(schedule.size_at(epoch, epochs) for epoch in range(epochs))
            return {size: count / epochs for size, count in counts.items()}
    return {}


def count_flops_of_run(cfg: Config, batch: int) -> float:
    """:func:`count_flops_in_batch`, the mean over the epochs of a run of :func:`sizes_of_run`."""
    total = 0.
    for size, share in sizes_of_run(cfg).items():
        few, more = (build_step(cfg, images, size=size) for images in (2, 4))
        total += share * count_flops_in_batch(few, more, batch)
    return total


def matrix_rate(device: str = 'cpu', dtype: torch.dtype = torch.float32, size: int = 0,
                rounds: int = 5) -> float:
    """Floating-point operations a second of the best of several products of square matrices,
    by PyTorch's product and by that of our linear layers."""
    size = size or (8192 if device.startswith('cuda') else 2048)
    a = torch.randn(size, size, device=device, dtype=dtype)
    wait = torch.cuda.synchronize if device.startswith('cuda') else lambda: None
    times = []
    for turn in range(rounds + 1):
        for product in (torch.matmul, linear):
            wait()
            started = time.perf_counter()
            product(a, a)
            wait()
            if turn:
                times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


def count_parameters(model: nn.Module) -> Tuple[float, float]:
    """Millions of parameters: of the encoder, and of everything that is trained with it."""
    encoder = getattr(model, 'backbone', model)
    return (sum(p.numel() for p in encoder.parameters()) / 1e6,
            sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6)


def peak_memory(step: Step, device: str = 'cpu', amp: bool = False,
                update: Optional[GuardedOptimWrapper] = None) -> float:
    """MiB after two steps: allocated on a GPU, resident on the CPU.

    On the CPU (Linux) it is the peak of the whole process, so measure one model a process.
    """
    for _ in range(2):
        run_step(step, device, amp, update)
    return peak_so_far(device)


def peak_so_far(device: str = 'cpu') -> float:
    """MiB: the most that was allocated on a GPU, or resident on the CPU, by this process."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated() / 2**20
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) / 2**10
