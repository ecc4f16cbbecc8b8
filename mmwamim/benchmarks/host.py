"""Measures what the host does in a training step besides the networks.

    python tools/benchmark/host.py                                    # ViT-B, batch 512
    python tools/benchmark/host.py configs/wamim/swin_b_400e.py --batch 256

The run is a real one: runner, loader with workers, hooks, schedulers and optimizer wrapper are
those of the config, as tools/train.py settles them. The networks do nothing: encoder, decoders,
target and head return at once, and every parameter has one element, so that launching the
optimizer is measured and not its arithmetic. Images are constant, of 8 pixels a side in the loader,
since on a GPU a thread of the loader copies their pixels (it unpacks batches here too), and not
normalised, which is the
device's work; for the mask they have their own size. Of the mask the numbers are drawn for the
whole batch, which is the host's work; what the device does with them is launched for one image, as
kernels of the CPU: that costs the host about what launching costs. ``--plan-on cpu`` computes the
whole batch's plan here, ``--plan-on meta`` makes it for images that are nowhere (PyTorch then runs
much of it in Python, which a GPU does not). Time is that of the main thread on its core, so that
other work on the machine does not count.
"""
import argparse
import queue
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Callable, Dict, List, Union
from unittest.mock import patch

import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmwamim.commands.architectures import find_config
from mmwamim.engine.config.reading import read_config
from mmwamim.engine.config.step import settle_precision, settle_step
from mmwamim.engine.distributed.processes import settle_processes


@DATASETS.register_module()
class ConstantImages(Dataset):
    """Images that cost nothing, with samples that name files as those of a real data set do."""

    metainfo: dict = {}

    def __init__(self, count: int, size: int = 8) -> None:
        self.count, self.pixels = count, torch.zeros(3, size, size, dtype=torch.uint8)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict:
        sample = DataSample()
        sample.set_metainfo(dict(img_path=f'/data/imagenet/train/n{index % 1000:08d}/'
                                          f'n{index:08d}.JPEG'))
        return dict(inputs=self.pixels, data_samples=sample)


class Parts:
    """Seconds of this thread on its core, by part of a step."""

    def __init__(self) -> None:
        self.steps: List[Dict[str, float]] = []
        self.now: Dict[str, float] = defaultdict(float)

    def wrap(self, name: str, function: Callable) -> Callable:
        def timed(*args, **kwargs):
            started = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.now[name] += time.thread_time() - started
        return timed


class StepTimer(Hook):
    """Divides the run into steps, from one end to the next."""

    priority = 'LOWEST'

    def __init__(self, parts: Parts, steps: int, lead: float) -> None:
        self.parts, self.steps, self.lead, self.started = parts, steps, lead, None

    def before_train_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        if batch_idx == 0:
            time.sleep(self.lead)

    def after_train_iter(self, runner: Runner, **_) -> None:
        ended = time.thread_time()
        if self.started is not None and len(self.parts.steps) < self.steps:
            self.parts.now['whole step'] = ended - self.started
            self.parts.steps.append(dict(self.parts.now))
        self.parts.now.clear()
        self.started = time.thread_time()


def empty_networks(model: nn.Module, parts: Parts, size: int, plan_on: str) -> None:
    """Leaves the model its parameters, of one element each, and what is not a network."""
    for parameter in model.parameters():
        parameter.data = parameter.data.new_zeros([1] * parameter.dim())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = [torch.ones_like(parameter) for parameter in trained]
    names = model.head.level_names

    def lose(*_) -> Dict[str, Tensor]:
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient
        anchor = trained[0].sum()
        return {f'loss_{name}': anchor * 1. for name in names}

    device = 'meta' if plan_on == 'meta' else 'cpu'

    def hand_over(data: dict, training: bool = False) -> dict:
        batch = len(data['inputs'])
        return dict(data, inputs=torch.empty(1, device=device).expand(batch, 3, size, size))

    model.init_weights = lambda: None
    model.data_preprocessor.forward = hand_over
    for network in (model.backbone, model.neck, model.target_generator):
        network.forward = lambda *_: []
    model.head.forward = parts.wrap('(networks)', lose)


def launched(model: nn.Module) -> Callable:
    """Draws the masks of a batch and plans that of one image."""
    plan_mask = model.plan_mask

    def plan(images: Tensor):
        if not model.shared_mask:
            grid = [side // model.mask_unit for side in images.shape[-2:]]
            torch.rand(len(images) - 1, *grid)
        return plan_mask(images[:1])
    return plan


def build_runner(config: Union[str, Path], parts: Parts, work_dir: str, batch: int, ahead: int,
                 workers: int, lead: float, plan_on: str) -> Runner:
    """The config's runner, with networks that do nothing, and every part timed.

    Args:
        config: Of pre-training.
        parts: What takes the times.
        work_dir: For its logs.
        batch: Images a step.
        ahead: Steps that the loader is ahead: it draws indices during each that is measured.
        workers: Of the loader.
        lead: Seconds for the loader to get ahead.
        plan_on: 'one image', 'cpu' or 'meta'.
    """
    cfg = read_config(find_config(config))
    cfg.work_dir = work_dir
    settle_precision(cfg, amp=False)
    settle_step(cfg)
    settle_processes(cfg, 'none')
    cfg.log_level = 'WARNING'
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler = [dict(scheduler, by_epoch=False, end=10**6, begin=0,
                                convert_to_iter_based=False) for scheduler in cfg.param_scheduler]
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks
                        if not hook['type'].endswith(('RunSummaryHook', 'EncoderExportHook'))]
    cfg.default_hooks.checkpoint = None
    size = cfg.model.backbone.img_size
    cfg.merge_from_dict(dict(train_dataloader=dict(
        batch_size=batch, num_workers=workers, prefetch_factor=-(-ahead // workers),
        dataset=dict(_delete_=True, type='ConstantImages', count=2 * ahead * batch))))
    runner = Runner.from_cfg(cfg)
    model = runner.model
    empty_networks(model, parts, size, plan_on)
    model.plan_mask = parts.wrap('mask and plan', launched(model) if plan_on == 'one image'
                                 else model.plan_mask)
    runner.register_hook(StepTimer(parts, ahead - 1, lead), priority='LOWEST')
    for hook in runner.hooks:
        if not isinstance(hook, StepTimer):
            for place in ('before_train_iter', 'after_train_iter'):
                name = 'schedulers' if type(hook).__name__ == 'ParamSchedulerHook' else 'hooks'
                setattr(hook, place, parts.wrap(name, getattr(hook, place)))
    return runner


def unpack_in_a_thread(loader: DataLoader) -> None:
    """Gives a loader the thread that takes batches from its workers where there is a GPU: with
    ``pin_memory=True`` it is not the main thread that unpacks them."""
    get_iterator = loader._get_iterator

    def move_on(source, sink, device_index, done, device) -> None:
        while not done.is_set():
            with suppress(queue.Empty):
                sink.put(source.get(timeout=1))

    def with_thread():
        with patch('torch.accelerator.is_available', lambda: True), \
                patch('torch.accelerator.current_accelerator', lambda: torch.device('cpu')), \
                patch('torch.accelerator.current_device_index', lambda: 0), \
                patch('torch.utils.data._utils.pin_memory._pin_memory_loop', move_on):
            return get_iterator()

    loader.pin_memory = True
    loader._get_iterator = with_thread


class UnpackInThread(Hook):
    """See :func:`unpack_in_a_thread`."""

    def before_train(self, runner: Runner) -> None:
        unpack_in_a_thread(runner.train_dataloader)


class WrapOptimizer(Hook):
    """Times the optimizer once the schedulers have put themselves around its wrapper."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def before_train(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        wrapper.update_params = self.parts.wrap('optimizer and its wrapper', wrapper.update_params)


def measure(config: Union[str, Path] = 'configs/wamim/vit_b_400e.py', *, batch: int = 512,
            steps: int = 100, warmup: int = 10, workers: int = 1, lead: float = 5.,
            plan_on: str = 'one image') -> Dict[str, List[float]]:
    """Seconds of the main thread on its core, by part of a step, a number for each step.

    Args:
        config: Of pre-training.
        batch: Images a step.
        steps: That count.
        warmup: Steps before them.
        workers: Of the loader.
        lead: Seconds for the loader to get ahead.
        plan_on: Where the mask is planned: for 'one image', on the 'cpu', or 'meta'.

    Raises:
        MissingFile: There is no such config.
    """
    parts, threads = Parts(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as work_dir, \
                DefaultScope.overwrite_default_scope('mmpretrain'):
            runner = build_runner(config, parts, work_dir, batch, steps + warmup + 1, workers, lead,
                                  plan_on)
            runner.register_hook(UnpackInThread(), priority='HIGHEST')
            runner.register_hook(WrapOptimizer(parts), priority='LOWEST')
            runner.train()
    finally:
        torch.set_num_threads(threads)
    return rows_of(parts.steps[warmup:])


def rows_of(steps: List[Dict[str, float]]) -> Dict[str, List[float]]:
    """Each part by name, what is left over, and all but the networks."""
    names = [name for name in steps[0] if name not in ('whole step', '(networks)')]
    known = {name: [step.get(name, 0.) for step in steps] for name in names}
    rest = [step['whole step'] - sum(step.get(name, 0.) for name in [*names, '(networks)'])
            for step in steps]
    return {**known, 'loader hand-over and the loop': rest,
            '**all**': [step['whole step'] - step.get('(networks)', 0.) for step in steps]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', nargs='?', default='configs/wamim/vit_b_400e.py')
    parser.add_argument('--batch', type=int, default=512)
    parser.add_argument('--steps', type=int, default=100)
    parser.add_argument('--warmup', type=int, default=10)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--lead', type=float, default=5., metavar='SECONDS',
                        help='for the loader to get ahead')
    parser.add_argument('--plan-on', choices=['one image', 'cpu', 'meta'],
                        default='one image')


def run(args: argparse.Namespace) -> None:
    rows = measure(**vars(args))
    print(f'{args.config}, batch {args.batch}, {args.workers} loader workers, plan on '
          f'{args.plan_on}, 1 thread, torch {torch.__version__}, '
          f'{len(rows["**all**"])} steps\n')
    print('| host time a step, ms | mean | median | most |\n|---|---|---|---|')
    for name, values in rows.items():
        print(f'| {name} | {1e3 * statistics.mean(values):.2f} | '
              f'{1e3 * statistics.median(values):.2f} | {1e3 * max(values):.2f} |')
