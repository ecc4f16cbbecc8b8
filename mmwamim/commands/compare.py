r"""Compares the pre-training steps of several configs on this machine, as the paper's Table 1 does.

    mmwamim compare vit_b mae_vit_b_1600e localmim_vit_b_100e --relative-to mae_vit_b_1600e
    mmwamim compare vit_s:8 vit_b:8 --memory
    mmwamim compare configs/wamim/vit_b_400e.py --device cuda --amp --batch 256

Configs are given by the name of an encoder, by their own name, or by path. Steps are forward and
backward on noise that went through each config's own data pipeline, in turn within one run, after a
warm-up; medians are printed. Time is compared by image, so configs may differ in batch
(CONFIG:BATCH). FLOPs are those of a training step, multiply and add counted as two, at the size of
the config and, where images grow, in the mean of the run; utilisation is FLOPs a second as a share
of this machine's own matrix product.
"""
import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import List, Sequence, Tuple, Union

import torch

from mmwamim.engine.config.check import check_config, check_trains
from mmwamim.engine.config.reading import read_config
from mmwamim.engine.training.cpu import keep_memory
from mmwamim.engine.training.measure import (
    build_step,
    count_flops_in_batch,
    count_flops_of_run,
    count_parameters,
    matrix_rate,
    peak_memory,
    run_step,
    sizes_of_run,
)
from mmwamim.errors import UserError
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.outputs import check_output_file
from mmwamim.interface.progress import Progress
from mmwamim.interface.words import option
from mmwamim.machine.devices import Device, best_device, check_device

from .architectures import architectures, find_config
from .calls import as_a_call
from .fields import check_counts

Path_ = Union[str, Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('configs', nargs='+', metavar='CONFIG[:BATCH]')
    parser.add_argument('--relative-to', metavar='NAME',
                        help='file name of the config that ratios refer to (default: the last)')
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--warmup', type=int, default=1)
    parser.add_argument('--memory', action='store_true',
                        help='peak memory too, in a process of its own for each config')
    parser.add_argument('--device', default=best_device())
    parser.add_argument('--amp', action='store_true', help='bfloat16 networks')
    parser.add_argument('--out', type=Path, help='file for the figures, .json')
    parser.add_argument('--one', action='store_true', help=argparse.SUPPRESS)


def _split(config: str, batch: int) -> Tuple[Path, int]:
    path, _, own = config.partition(':')
    if own and not own.isdigit():
        raise UserError(f'{config!r}: what follows the colon is the batch, a number')
    check_counts(batch=int(own or batch))
    return find_config(path), int(own or batch)


def measure_memory(path: Path, batch: int, device: str, amp: bool) -> float:
    """MiB, in a process of its own: the peak of a process does not fall again."""
    command = [sys.executable, '-W', 'ignore', '-m', 'mmwamim', 'compare', f'{path}:{batch}',
               '--one', '--device', device] + ['--amp'] * amp
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or f'exit code {done.returncode}').splitlines()[-1]
        raise UserError(f'the memory of {path.stem} with batch {batch} could not be measured: '
                        f'{said}' + ' (killed, as where memory does not suffice)' * (
                            done.returncode == -9))
    return json.loads(done.stdout.splitlines()[-1])


@settles_arguments
def compare(configs: Union[Path_, Sequence[Path_]], *, batch: int = 16, rounds: int = 5,
            warmup: int = 1, memory: bool = False, device: Device = None,
            amp: bool = False) -> List[dict]:
    """All figures of all configs, a dict for each: seconds of a step, images a second, FLOPs an
    image, parameters in millions, utilisation, MiB of memory.

    Args:
        configs: ``CONFIG`` or ``CONFIG:BATCH``, by name or path.
        batch: Images a step where none are given.
        rounds: Steps that count, of each config in turn.
        warmup: Steps before them.
        memory: Whether to measure peak memory, too, each in a process of its own.
        device: Default: a GPU if there is one.
        amp: bfloat16 networks.

    Raises:
        UserError: There is no such config.
    """
    device = str(check_device(device))
    check_counts(batch=batch, rounds=rounds)
    if warmup < 0:
        raise UserError(f'{option("warmup")} must be at least 0, not {warmup}')
    todo = [_split(str(config), batch) for config in (
        [configs] if isinstance(configs, (str, Path)) else configs)]
    if not todo:
        raise UserError('configs: name at least one to measure')
    with as_a_call():
        rows = _measure(todo, rounds, warmup, device, amp)
    if memory:
        for row, (path, batch) in zip(rows, todo):
            print(f'memory of {row["name"]} in a process of its own', file=sys.stderr, flush=True)
            row['memory'] = measure_memory(path, batch, device, amp)
    return rows


def _measure(todo: List[Tuple[Path, int]], rounds: int, warmup: int, device: str,
             amp: bool) -> List[dict]:
    rows, steps = [], []
    for path, batch in todo:
        print(f'building {path.stem}', file=sys.stderr, flush=True)
        cfg = read_config(path)
        check_config(cfg)
        check_trains(cfg)
        small = build_step(cfg, 2)
        encoder, trained = count_parameters(small.model)
        flops = count_flops_in_batch(small, build_step(cfg, 4), batch)
        rows.append(dict(name=path.stem, config=str(path), batch=batch, encoder_parameters=encoder,
                         trained_parameters=trained, times=[], flops=flops,
                         run_flops=count_flops_of_run(cfg, batch) if sizes_of_run(cfg) else flops))
        del small
        steps.append(build_step(cfg, batch, device))
    told = Progress(warmup + rounds, 'rounds')
    for turn in range(warmup + rounds):
        for row, step in zip(rows, steps):
            seconds = run_step(step, device, amp)
            if turn >= warmup:
                row['times'].append(seconds)
        told(turn + 1)
    rate = matrix_rate(device, torch.bfloat16 if amp else torch.float32)
    for row in rows:
        row['seconds'] = statistics.median(row['times'])
        row['images_per_second'] = row['batch'] / row['seconds']
        row['utilisation'] = row['flops'] * row['images_per_second'] / rate
    return rows


def to_markdown(rows: List[dict], relative_to: str) -> str:
    """The table, times, FLOPs and memory also as ratios to a row."""
    base = next(row for row in rows if row['name'] == relative_to)
    memory = 'memory' in base
    grows = any(row['run_flops'] != row['flops'] for row in rows)
    lines = ['| config | batch | encoder, M | trained, M | GFLOPs an image | s a step | images/s | '
             f'time an image / {relative_to} | FLOPs / | utilisation |'
             + (' mean of the run, GFLOPs | / |' if grows else '')
             + (' memory, MiB | memory / |' if memory else '')]
    lines.append('|---' * (lines[0].count('|') - 1) + '|')
    for row in rows:
        cells = [
            row['name'], row['batch'], f'{row["encoder_parameters"]:.1f}',
            f'{row["trained_parameters"]:.1f}', f'{row["flops"] / 1e9:.1f}',
            f'{row["seconds"]:.3f} ({min(row["times"]):.3f} to {max(row["times"]):.3f})',
            f'{row["images_per_second"]:.1f}',
            f'{base["images_per_second"] / row["images_per_second"]:.3f}',
            f'{row["flops"] / base["flops"]:.3f}', f'{100 * row["utilisation"]:.0f} %']
        if grows:
            cells += [f'{row["run_flops"] / 1e9:.1f}',
                      f'{row["run_flops"] / base["run_flops"]:.3f}']
        if memory:
            cells += [f'{row["memory"]:.0f}', f'{row["memory"] / base["memory"]:.3f}']
        lines.append('| ' + ' | '.join(str(cell) for cell in cells) + ' |')
    return '\n'.join(lines)


def run(args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    if args.one:
        path, batch = _split(args.configs[0], args.batch)
        print(json.dumps(peak_memory(build_step(read_config(path), batch, args.device),
                                     args.device, args.amp)))
        return
    names = [_split(config, args.batch)[0].stem for config in args.configs]
    relative_to = args.relative_to or names[-1]
    if find_name(relative_to) not in names:
        raise UserError(f'--relative-to {relative_to!r} is none of {", ".join(names)}')
    if args.out:
        check_output_file(args.out)
    if args.device == 'cpu':
        keep_memory()  # as training does
    rows = compare(args.configs, batch=args.batch, rounds=args.rounds, warmup=args.warmup,
                   memory=args.memory, device=args.device, amp=args.amp)
    print(f'{args.device}, {"bfloat16" if args.amp else "float32"}, {torch.get_num_threads()} '
          f'threads, torch {torch.__version__}, median of {args.rounds} rounds in turn\n')
    print(to_markdown(rows, find_name(relative_to)))
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2) + '\n')


def find_name(name: str) -> str:
    """The file name of a config that may be given by its encoder (``vit_s``)."""
    return architectures()[name].stem if name in architectures() else name
