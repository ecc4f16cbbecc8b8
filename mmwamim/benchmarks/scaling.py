"""Predicts how pre-training scales over GPUs, and checks the same model where it can be measured.

    python tools/benchmark/scaling.py --images-per-second 10000                # 1 to 256 GPUs
    python tools/benchmark/scaling.py --images-per-second 10000 --network 12.5 # 100 Gbit/s
    python tools/benchmark/scaling.py --check --config configs/wamim/vit_s_300e.py --batch 16

The model: a step takes its computation plus what communication is left after hiding behind it.
DDP reduces float32 gradients while the backward pass, two thirds of the computation, runs; FSDP
gathers weights twice and scatters gradients once, all along. A collective of S bytes among N
processes moves S * (N - 1) / N, a reduction twice that, over the slowest link.

``--check`` measures on this machine, on CPUs with gloo: two processes of one thread each that
compute without talking, every collective alone, and then DDP and FSDP, beside their prediction.
There nothing is hidden: gloo's threads want the cores that compute.
"""
import argparse
import math
import os
import statistics
import time
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Union

import torch
import torch.distributed as dist
import torch.multiprocessing
from mmengine.config import Config
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from mmwamim.commands.architectures import find_config
from mmwamim.engine.config.reading import read_config
from mmwamim.engine.distributed.sharding import shard_model
from mmwamim.engine.training.cpu import keep_memory
from mmwamim.engine.training.measure import build_step
from mmwamim.errors import UserError
from mmwamim.registry import MODELS

Path_ = Union[str, Path]
BUCKET = 25 * 2**20  # bytes that DDP reduces at a time


class Machine(NamedTuple):
    """Links of a cluster: bytes a second of one direction, seconds a message."""
    per_node: int = 8
    node: float = 400e9
    network: float = 400e9
    latency: float = 10e-6

    def seconds(self, size: float, processes: int, trips: int) -> float:
        """A collective of ``size`` bytes: 1 trip gathers or scatters, 2 reduce to all."""
        if processes == 1:
            return 0.
        link = self.node if processes <= self.per_node else min(self.node, self.network)
        hops = trips * math.ceil(math.log2(processes))
        return trips * size * (processes - 1) / processes / link + hops * self.latency


def exposed(strategy: str, compute: float, size: float, processes: int, machine: Machine) -> float:
    """Seconds a step waits for communication, with what can be hidden hidden.

    Args:
        strategy: 'DDP' or 'FSDP'.
        compute: Seconds of computation a step.
        size: Bytes of the gradients, or of the weights.
        processes: GPUs.
        machine: Their links.
    """
    count = math.ceil(size / BUCKET)
    if strategy == 'DDP':
        part = machine.seconds(size / count, processes, 2)
        # The last bucket is full when the backward pass ends.
        return max(part, count * part - compute * 2 / 3)
    part = machine.seconds(size / count, processes, 1)
    return max(part, 3 * count * part - compute)


class Row(NamedTuple):
    """What so many GPUs are predicted to do."""
    gpus: int
    batch: int  # images a GPU
    strategy: str
    speed: float  # images a second of all
    linear: float  # as a share of so many times one GPU
    waits: float  # share of a step's time that goes into communication


def count_gradients(config: Path_) -> int:
    """Trained parameters of a config's model."""
    model = MODELS.build(read_config(find_config(config)).model)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def predict(parameters: int, images_per_second: float, *, batch: int = 256, total: int = 2048,
            machine: Machine = Machine()) -> List[Row]:
    """DDP and FSDP on 1 to 256 GPUs: first with ``batch`` images each, then with a ``total``.

    Args:
        parameters: That are trained, float32.
        images_per_second: Of one GPU.
        batch: Images a GPU.
        total: The recipe's batch, shared out.
        machine: The links.
    """
    gpus, rows = [2**i for i in range(9)], []
    for batches in ([batch] * len(gpus), [total // n for n in gpus]):
        for processes, images in zip(gpus, batches):
            for strategy in ('DDP', 'FSDP'):
                compute = images / images_per_second
                waits = exposed(strategy, compute, 4. * parameters, processes, machine)
                rate = processes * images / (compute + waits)
                rows.append(Row(processes, images, strategy, rate,
                                rate / processes / images_per_second, waits / (compute + waits)))
    return rows


def median_seconds(function: Callable[[], None], rounds: int) -> float:
    times = []
    for turn in range(rounds + 1):
        dist.barrier()
        started = time.perf_counter()
        function()
        if turn:  # the first one warms up
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def measure_parts(size: int, rounds: int) -> Dict[str, float]:
    """Collectives and optimizer of ``size`` float32 numbers, each alone, between two processes."""
    flat, part = torch.zeros(size), torch.zeros(-(-size // 2))
    whole = torch.zeros(2 * len(part))
    seconds = {
        'all-reduce': median_seconds(lambda: dist.all_reduce(flat), rounds),
        'all-gather': median_seconds(lambda: dist.all_gather_into_tensor(whole, part), rounds),
        'reduce-scatter': median_seconds(lambda: dist.reduce_scatter_tensor(part, whole), rounds)}
    for name, numbers in (('optimizer', flat), ('optimizer of half', part)):
        numbers.grad = torch.ones_like(numbers)
        optimizer = torch.optim.AdamW([numbers.requires_grad_()], fused=True)
        seconds[name] = median_seconds(optimizer.step, rounds)
    return seconds


def check_process(rank: int, config: str, batch: int, rounds: int, port: int, results) -> None:
    """One of two processes: measures the parts, then the whole."""
    torch.set_num_threads(1)
    keep_memory()  # as tools/train.py does
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    dist.init_process_group('gloo', rank=rank, world_size=2)
    torch.manual_seed(0)
    seconds: Dict[str, float] = {}

    cfg = read_config(find_config(config))
    model = build_step(cfg, batch).model
    size = sum(p.numel() for p in model.parameters() if p.requires_grad)
    single = training_step(model, cfg, batch)
    if rank:  # the first process has the machine for itself
        for _ in range(rounds + 1):
            dist.barrier()
    else:
        seconds['one process'] = median_seconds(single, rounds)
    seconds['two processes, silent'] = median_seconds(single, rounds)
    del model, single

    seconds.update(measure_parts(size, rounds))
    for name in ('DDP', 'FSDP'):
        model = build_step(cfg, batch).model
        if name == 'DDP':
            model = DistributedDataParallel(model)
        else:
            shard_model(model, init_device_mesh('cpu', (2, )))
        seconds[name] = median_seconds(training_step(model, cfg, batch), rounds)
        del model
    if rank == 0:
        results.update(seconds, parameters=size)
    dist.barrier()
    dist.destroy_process_group()


def training_step(model: torch.nn.Module, cfg: Config, batch: int) -> Callable[[], None]:
    """Forward, backward and AdamW on noise; enters the model, which may be wrapped, by forward."""
    side = cfg.model.backbone.img_size
    images = torch.randn(batch, 3, side, side)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def whole() -> None:
        sum(model(images, None, mode='loss').values()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return whole


def check(config: Path_, *, batch: int = 256, rounds: int = 5,
          port: int = 29650) -> Dict[str, float]:
    """Measures two processes on this machine, the collectives between them, DDP and FSDP.

    Returns:
        Median seconds of each, and ``parameters``, the number of those that are trained.
    """
    with torch.multiprocessing.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(check_process, (str(config), batch, rounds, port, results),
                                    nprocs=2)
        return dict(results)


def expected(found: Dict[str, float]) -> Dict[str, float]:
    """Seconds a step that the parts which were measured lead to."""
    silent = found['two processes, silent']
    saved = found['optimizer'] - found['optimizer of half']
    return dict(DDP=silent + found['all-reduce'],
                FSDP=silent + 2 * found['all-gather'] + found['reduce-scatter'] - saved)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--config', default='configs/wamim/vit_b_400e.py', type=Path)
    parser.add_argument('--batch', type=int, default=256, help='images a GPU, or a process')
    parser.add_argument('--total', type=int, default=2048, help="the recipe's batch, shared out")
    parser.add_argument('--images-per-second', type=float, help='of one GPU: measure it with '
                        'tools/benchmark/step.py --device cuda --amp')
    parser.add_argument('--node', type=float, default=400, help='GB/s between GPUs of a node')
    parser.add_argument('--network', type=float, default=400, help='GB/s of a node, all its cards')
    parser.add_argument('--latency', type=float, default=10, help='microseconds a message')
    parser.add_argument('--check', action='store_true', help='two processes on this machine')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--port', type=int, default=29650)


def run(args: argparse.Namespace) -> None:
    find_config(args.config)
    if args.check:
        print_check(args)
    elif args.images_per_second is None:
        raise UserError('--images-per-second is what one GPU does: measure it with '
                        'tools/benchmark/step.py --device cuda --amp, or say what you assume')
    else:
        print_prediction(args)


def print_prediction(args: argparse.Namespace) -> None:
    parameters = count_gradients(args.config)
    rows = predict(parameters, args.images_per_second, batch=args.batch, total=args.total,
                   machine=Machine(8, args.node * 1e9, args.network * 1e9, args.latency * 1e-6))
    print(f'{args.config}: {parameters / 1e6:.1f} M parameters, {4 * parameters / 1e6:.0f} MB of '
          f'gradients; assumed: {args.images_per_second:.0f} images/s of one GPU, 8 GPUs a node, '
          f'{args.node:g} GB/s in a node, {args.network:g} GB/s between nodes, '
          f'{args.latency:g} us a message\n')
    print('| GPUs | images a GPU | strategy | images/s | of linear | share of communication |')
    print('|---|---|---|---|---|---|')
    for row in rows:
        print(f'| {row.gpus} | {row.batch} | {row.strategy} | {row.speed:,.0f} | '
              f'{100 * row.linear:.1f} % | {100 * row.waits:.1f} % |')


def print_check(args: argparse.Namespace) -> None:
    found = check(args.config, batch=args.batch, rounds=args.rounds, port=args.port)
    size = found.pop('parameters')
    print(f'{args.config}, batch {args.batch} a process, one thread each, {size / 1e6:.1f} M '
          f'parameters, median of {args.rounds}\n')
    print('| part | seconds |\n|---|---|')
    for name, value in found.items():
        if name not in ('DDP', 'FSDP'):
            print(f'| {name} | {value:.3f} |')
    print('\n| two processes | predicted | measured | measured / predicted | images/s of one '
          'process, times |')
    print('|---|---|---|---|---|')
    for name, value in expected(found).items():
        print(f'| {name} | {value:.3f} s | {found[name]:.3f} s | {found[name] / value:.2f} | '
              f'{2 * found["one process"] / found[name]:.2f} |')
