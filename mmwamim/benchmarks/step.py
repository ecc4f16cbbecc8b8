"""Times a pre-training step of WaMIM against its peer of mmpretrain, in turn in one process.

    python tools/benchmark/step.py                            # ViT-B and MAE, batch 16, CPU
    python tools/benchmark/step.py --encoder swin_b --batch 8 # Swin-B and SimMIM at 192 px
    python tools/benchmark/step.py --memory --batch 64        # peak memory, a process each
    python tools/benchmark/step.py --cfg-options model.backbone.with_cp=True  # ours, changed
    python tools/benchmark/step.py --device cuda --amp --batch 256

A step of WaMIM and of its peer is a whole one, on noise and without data loading: forward,
backward, norm of the gradient, finite check, optimizer, the same for both; with ``--no-update``
forward and backward alone. "Encoder" is our encoder alone on the visible patches, "dense encoder"
its mmpretrain parent on all of them, forward and backward. ``--compile`` compiles all of them. The
peer runs as mmpretrain has it and, where our linear layers are another library's
(mmwamim/engine/training/cpu.py), once more with those. On the CPU the process keeps the memory
that it frees, for all alike, as tools/train.py does. Utilisation is the FLOPs of a step a second,
as a share of this machine's own matrix product. For Swin the time on the CPU that planning the
attention groups of a step takes is printed as well. tools/compare.py does the same for any list of
configs.
"""
import argparse
import json
import operator
import statistics
import subprocess
import sys
import time
from typing import Dict, List, NamedTuple, Optional

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from mmwamim.commands.architectures import find_config
from mmwamim.engine.config import reading
from mmwamim.engine.config.options import FieldAction
from mmwamim.engine.training.compile import compile_model
from mmwamim.engine.training.cpu import keep_memory, onednn_is_faster
from mmwamim.engine.training.measure import (
    Step,
    build_step,
    build_update,
    count_flops,
    matrix_rate,
    peak_memory,
    run_step,
)
from mmwamim.interface.progress import Progress

CONFIGS = dict(vit_b='configs/wamim/vit_b_400e.py', vit_s='configs/wamim/vit_s_300e.py',
               swin_b='configs/wamim/swin_b_400e.py')
PEERS = dict(vit_b=('MAE', 'configs/baselines/mae_vit_b_1600e.py'),
             vit_s=('MAE', 'configs/baselines/mae_vit_s_300e.py'),
             swin_b=('SimMIM-192', 'configs/baselines/simmim_swin_b_192_800e.py'))
SAME = ', our linear'  # the peer with our linear layers


def prepare(name: str, encoder: str, batch: int, device: str,
            options: Optional[dict] = None) -> Step:
    """The step of WaMIM, of its peer, or of the encoder alone."""
    peer = PEERS[encoder][0]
    if name in (peer, peer + SAME):
        return build_step(read_config(name, encoder), batch, device, plain=name == peer)
    part = 'model' if name == 'WaMIM' else name
    return build_step(read_config(name, encoder, options), batch, device, part)


def read_config(name: str, encoder: str, options: Optional[dict] = None) -> Config:
    """The config of WaMIM, with changes, or of its peer."""
    peer, config = PEERS[encoder]
    if name in (peer, peer + SAME):
        return reading.read_config(find_config(config))
    return reading.read_config(find_config(CONFIGS[encoder]), options)


def prepare_update(name: str, step: Step, encoder: str, amp: bool,
                   options: Optional[dict] = None) -> Optional[OptimWrapper]:
    """The rest of a whole step; None for the encoder alone."""
    if 'encoder' in name:
        return None
    return build_update(step, read_config(name, encoder, options), amp)


def measure_grouping(model: torch.nn.Module, rounds: int = 100) -> float:
    """Milliseconds a step of planning which visible tokens of Swin attend together."""
    images, times = torch.empty(1, 3, 224, 224), []
    for _ in range(rounds):
        mask = model.plan_mask(images).mask
        started = time.perf_counter()
        model.backbone.plan_windows(mask)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


class Times(NamedTuple):
    """Of WaMIM, its peer, and the encoder alone, by name."""
    seconds: Dict[str, List[float]]  # of a step, a round each
    flops: Dict[str, float]  # of an image
    rate: float  # FLOPs a second of this machine's own matrix product


def measure_time(encoder: str = 'vit_b', *, batch: int = 16, rounds: int = 7, warmup: int = 2,
                 device: str = 'cpu', amp: bool = False, update: bool = True,
                 compiled: bool = False, cfg_options: Optional[dict] = None) -> Times:
    """Times steps of WaMIM and of its peer, in turn.

    Args:
        encoder: 'vit_b', 'vit_s' or 'swin_b'.
        batch: Images a step.
        rounds: Steps of each that count.
        warmup: Steps before them.
        device: Where to compute.
        amp: bfloat16 networks.
        update: Whole steps; otherwise forward and backward alone.
        compiled: Whether to compile all of them.
        cfg_options: Fields of WaMIM's config.
    """
    peer = PEERS[encoder][0]
    names = ['WaMIM', peer, 'encoder', 'dense encoder']
    if device == 'cpu' and onednn_is_faster():
        names.insert(2, peer + SAME)
    flops = {name: count_flops(prepare(name, encoder, 2, 'cpu')) for name in names}
    steps = {name: prepare(name, encoder, batch, device, cfg_options) for name in names}
    if compiled:
        for step in steps.values():
            compile_model(step.model)
    updates = {name: prepare_update(name, step, encoder, amp, cfg_options) if update else None
               for name, step in steps.items()}
    times: Dict[str, List[float]] = {name: [] for name in names}
    told = Progress(warmup + rounds, 'rounds')
    for turn in range(warmup + rounds):
        for name, step in steps.items():
            seconds = run_step(step, device, amp, updates[name])
            if turn >= warmup:
                times[name].append(seconds)
        told(turn + 1)
    return Times(times, flops, matrix_rate(device, torch.bfloat16 if amp else torch.float32))


def print_times(args: argparse.Namespace) -> None:
    times, flops, rate = measure_time(
        args.encoder, batch=args.batch, rounds=args.rounds, warmup=args.warmup, device=args.device,
        amp=args.amp, update=not args.no_update, compiled=args.compile,
        cfg_options=args.cfg_options)
    names, peer = list(times), PEERS[args.encoder][0]
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f'{args.encoder}, batch {args.batch}, {args.device}, '
          f'{"bfloat16" if args.amp else "float32"}, {torch.get_num_threads()} threads, '
          f'torch {torch.__version__}, median of {args.rounds} rounds in turn, '
          f'{"forward and backward" if args.no_update else "whole steps"}; matrix product '
          f'{rate / 1e9:.0f} GFLOP/s')
    for name in names:
        spread = f'{min(times[name]):.3f} to {max(times[name]):.3f}'
        speed = args.batch / median[name]
        print(f'  {name:<22} {median[name]:8.3f} s a step ({spread}) {speed:10.1f} images/s'
              f' {flops[name] / 1e9:8.1f} GFLOPs an image, utilisation '
              f'{100 * flops[name] * speed / rate:.0f} %')
    # Other work on the machine only ever adds time: the fastest steps are the second opinion, and
    # steps of the same round, which met the machine in the same state, the third.
    for ours, theirs in [*(('WaMIM', name) for name in names if name.startswith(peer)),
                         ('WaMIM', 'encoder'), ('encoder', 'dense encoder')]:
        pairs = statistics.median(map(operator.truediv, times[ours], times[theirs]))
        print(f'  {ours} / {theirs} {median[ours] / median[theirs]:.3f} '
              f'(round by round {pairs:.3f}, '
              f'of the fastest steps {min(times[ours]) / min(times[theirs]):.3f}, '
              f'of the FLOPs {flops[ours] / flops[theirs]:.3f})')
    if args.encoder == 'swin_b':
        model = prepare('WaMIM', args.encoder, 2, 'cpu').model
        print(f'  grouping {measure_grouping(model):.3f} ms a step')


def measure_memory(encoder: str, options: List[str]) -> Dict[str, float]:
    """MiB of WaMIM and of its peer, each in a process of its own: a peak does not fall again."""
    command = [sys.executable, '-W', 'ignore', '-m', 'mmwamim.benchmarks', 'step', *options]
    peaks = {}
    for name in ('WaMIM', PEERS[encoder][0]):
        print(f'measuring {name} in a process of its own', file=sys.stderr, flush=True)
        output = subprocess.run([*command, '--one', name], check=True, stdout=subprocess.PIPE,
                                text=True).stdout
        peaks[name] = json.loads(output.splitlines()[-1])['peak']
    return peaks


def print_memory(args: argparse.Namespace) -> None:
    options = ['--device', args.device, '--encoder', args.encoder, '--batch', str(args.batch),
               *['--amp'] * args.amp, *['--no-update'] * args.no_update]
    if args.cfg_options:
        options += ['--cfg-options', *(f'{key}={value}' for key, value in args.cfg_options.items())]
    peaks, peer = measure_memory(args.encoder, options), PEERS[args.encoder][0]
    print(f'{args.encoder}, batch {args.batch}, {args.device}, peak memory of two steps')
    for name, peak in peaks.items():
        print(f'  {name:<10} {peak:8.0f} MiB')
    print(f'  WaMIM / {peer} {peaks["WaMIM"] / peaks[peer]:.3f}')


def print_peak(args: argparse.Namespace) -> None:
    """Of one step, in this process, as a line of JSON."""
    step = prepare(args.one, args.encoder, args.batch, args.device, args.cfg_options)
    update = None if args.no_update else prepare_update(args.one, step, args.encoder, args.amp,
                                                        args.cfg_options)
    print(json.dumps(dict(peak=peak_memory(step, args.device, args.amp, update))))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--encoder', choices=CONFIGS, default='vit_b')
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--amp', action='store_true', help='bfloat16 networks')
    parser.add_argument('--memory', action='store_true', help='peak memory instead of time')
    parser.add_argument('--compile', action='store_true', help='compile WaMIM and its peer')
    parser.add_argument('--no-update', action='store_true',
                        help='forward and backward alone, without optimizer')
    parser.add_argument('--cfg-options', nargs='+', action=FieldAction, metavar='KEY=VALUE',
                        help="override fields of WaMIM's config")
    parser.add_argument('--one', help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    if args.one:
        print_peak(args)
    elif args.memory:
        print_memory(args)
    else:
        if args.device == 'cpu':
            keep_memory()
        print_times(args)
