"""The table of docs/benchmarks.md that needs a GPU: WaMIM and its peers, whole steps.

    python tools/benchmark/gpu.py                  # every row, about an hour; into work_dirs/gpu
    python tools/benchmark/gpu.py --encoders vit_b --batches 512
    python tools/benchmark/gpu.py --rehearse       # tiny networks, on the CPU if there is no GPU

A row is a process of its own: one that fails, or does not fit, says so in its line, and the others
go on. Its figures are kept in a file, so a second run measures only what is missing or failed; the
table is written anew after every row, as Markdown, to table.md.

All are measured alike: bfloat16 under autocast, PyTorch's attention, images on the device, and
after the backward pass the norm of the gradient, the finite check and fused AdamW; nothing is
clipped. "Compiled" is a graph of the whole step for WaMIM, and one of every layer for the peers,
whose steps Dynamo cannot take whole; "graphs" replays CUDA graphs as well. Steps follow each
other without waiting; a step's time is that of all, divided. The host's time is what it takes to
launch a step when the device is idle. Utilisation is the FLOPs of the model (a multiplication with
its addition counts two, nothing twice for activation checkpointing), as a share of the device's
dense bfloat16 peak as published, if it is known, and of the best matrix product in the same
process.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Sequence, Union

import torch
from mmengine.config import Config

from mmwamim.commands.architectures import find_config
from mmwamim.engine.config import reading
from mmwamim.engine.training.compile import compile_model
from mmwamim.engine.training.measure import (
    build_step,
    build_update,
    count_flops,
    launch_step,
    matrix_rate,
    peak_so_far,
)
from mmwamim.errors import UserError
from mmwamim.machine.devices import best_device

Figures = Dict[str, object]
CONFIGS = {
    'vit_b': {'WaMIM': 'configs/wamim/vit_b_400e.py',
              'MAE': 'configs/baselines/mae_vit_b_1600e.py'},
    'vit_s': {'WaMIM': 'configs/wamim/vit_s_300e.py',
              'MAE': 'configs/baselines/mae_vit_s_300e.py'},
    'swin_b': {'WaMIM': 'configs/wamim/swin_b_400e.py',
               'SimMIM-192': 'configs/baselines/simmim_swin_b_192_800e.py'},
}
MODES = {'eager': None, 'compiled': 'default', 'graphs': 'reduce-overhead'}
# Dense bfloat16 operations a second as their maker publishes them.
PEAKS = {'H200': 989e12, 'H100 PCIe': 756e12, 'H100': 989e12, 'A100': 312e12}
# For a rehearsal: the same paths through the code, in networks of a few thousand weights.
VIT = {'model.backbone.arch': dict(embed_dims=48, num_layers=12, num_heads=2,
                                   feedforward_channels=96)}
SMALL = {
    'WaMIM': {'model.neck.embed_dims': 32, 'model.neck.num_heads': 2},
    'MAE': {'model.neck.embed_dim': 48, 'model.neck.decoder_embed_dim': 32,
            'model.neck.decoder_num_heads': 2, 'model.neck.decoder_depth': 2},
    'SimMIM-192': {'model.neck.in_channels': 192},
}
SWIN = {'model.backbone.arch': dict(embed_dims=24, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])}


class Row(NamedTuple):
    """What is measured in a process of its own."""
    encoder: str
    method: str
    mode: str
    batch: int
    checkpointing: bool = False

    @property
    def name(self) -> str:
        return '_'.join(map(str, self[:4])) + '_with_cp' * self.checkpointing


def list_rows(encoders: Sequence[str], modes: Sequence[str],
              batches: Sequence[int]) -> Iterator[Row]:
    for batch in batches:
        for encoder in encoders:
            for mode in modes:
                for method in CONFIGS[encoder]:
                    if method == 'WaMIM' or mode != 'graphs':
                        yield Row(encoder, method, mode, batch)
            if 'eager' in modes:
                yield Row(encoder, 'WaMIM', 'eager', batch, checkpointing=True)


def read_config(row: Row, rehearse: bool) -> Config:
    cfg = reading.read_config(find_config(CONFIGS[row.encoder][row.method]))
    changes = {}
    if rehearse:
        changes = {**(VIT if row.encoder.startswith('vit') else SWIN), **SMALL[row.method]}
    for place, value in changes.items():
        owner, field = place.rsplit('.', 1)
        part = cfg
        for name in owner.split('.'):
            part = part[name]
        part[field] = value
    if row.checkpointing:
        cfg.model.backbone.with_cp = True
    return cfg


def measure(row: Row, *, rounds: int = 20, warmup: int = 5, device: str = 'cuda',
            rehearse: bool = False) -> Figures:
    """The figures of a row, in this process.

    Args:
        row: What to measure.
        rounds: Steps that are timed.
        warmup: Steps before them.
        device: Where to compute.
        rehearse: With networks of a few thousand weights.
    """
    cuda = device.startswith('cuda')
    wait = torch.cuda.synchronize if cuda else lambda: None
    torch.manual_seed(0)
    cfg = read_config(row, rehearse)
    flops = count_flops(build_step(cfg, 2, device))
    rate = matrix_rate(device, torch.bfloat16, size=256 if rehearse else 0)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    step = build_step(cfg, row.batch, device)
    if MODES[row.mode]:
        compile_model(step.model, MODES[row.mode])
    update = build_update(step, cfg, amp=True)

    def launch() -> None:
        launch_step(step, device, True, update)

    for _ in range(warmup):
        launch()
    seconds, host = time_steps(launch, wait, rounds)
    name = torch.cuda.get_device_name() if cuda else 'CPU'
    peak = next((value for key, value in PEAKS.items() if key in name), None)
    speed = row.batch / seconds
    return dict(seconds=seconds, speed=speed, host=host, flops=flops,
                memory=peak_so_far(device), device=name, torch=torch.__version__,
                of_product=flops * speed / rate, of_peak=peak and flops * speed / peak)


def time_steps(launch: Callable[[], None], wait: Callable[[], None], rounds: int) -> tuple:
    """Seconds of a step when they follow each other, and of launching one on an idle device."""
    wait()
    started = time.perf_counter()
    for _ in range(rounds):
        launch()
    wait()
    seconds, host = (time.perf_counter() - started) / rounds, []
    for _ in range(min(rounds, 5)):
        wait()
        started = time.perf_counter()
        launch()
        host.append(time.perf_counter() - started)
    wait()
    return seconds, statistics.median(host)


def run_row(row: Row, out: Path, timeout: int, **options: object) -> Figures:
    """Has a row measured in a process of its own; what went wrong is a figure as well."""
    command = [sys.executable, '-W', 'ignore', '-m', 'mmwamim.benchmarks', 'gpu', '--row',
               json.dumps(row)]
    for name, value in options.items():
        command += [f'--{name}'] * value if isinstance(value, bool) else [f'--{name}', str(value)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return dict(failed=f'took more than {timeout} s')
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    (out / f'{row.name}.log').write_text(done.stderr)
    return dict(failed=explain(done.returncode, done.stderr))


def measure_rows(rows: Sequence[Row], out: Union[str, Path] = 'work_dirs/gpu', *,
                 timeout: int = 1800, **options: object) -> Dict[Row, Figures]:
    """Measures every row that is not in a folder yet, each in a process of its own.

    Args:
        rows: What to measure.
        out: Folder for the figures of each row and the table, table.md.
        timeout: Seconds after which a row has failed.
        options: Of :func:`measure`.
    """
    out, results = Path(out), {}
    out.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows, start=1):
        path = out / f'{row.name}.json'
        known = json.loads(path.read_text()) if path.exists() else dict(failed='')
        if 'failed' in known:
            print(f'{number}/{len(rows)} {row.name}', file=sys.stderr, flush=True)
            known = run_row(row, out, timeout, **options)
            path.write_text(json.dumps(known) + '\n')
        results[row] = known
        (out / 'table.md').write_text(format_table(results))
    return results


def explain(code: int, stderr: str) -> str:
    """What to write into the line of a row whose process ended with another code than 0."""
    if code in (-9, 137) or any(words in stderr.lower() for words in (
            'out of memory', "can't allocate memory", 'cannot allocate memory')):
        return 'out of memory'
    lines = stderr.strip().splitlines()
    return lines[-1] if lines else f'exit code {code}'


def format_table(results: Dict[Row, Figures]) -> str:
    """Markdown: a line for each row, with WaMIM's time as a share of the peer's in its mode."""
    lines = ['| encoder | method | mode | batch | images/s | ms a step | host, ms | GFLOPs an '
             'image | of the peak | of a product | memory, GiB | time / peer |',
             '|' + '---|' * 12]
    for row, found in results.items():
        start = f'| {row.encoder} | {row.method} | {row.mode}' \
                f'{", checkpointing" * row.checkpointing} | {row.batch} |'
        if 'failed' in found:
            reason = str(found['failed']).replace('|', '/')
            lines.append(f'{start} {reason}' + ' |' * 8)
            continue
        ratio = _ratio(row, results)
        peak = found['of_peak']
        lines.append(
            f'{start} {found["speed"]:.0f} | {1e3 * found["seconds"]:.1f} | '
            f'{1e3 * found["host"]:.1f} | {found["flops"] / 1e9:.1f} | '
            f'{"unknown" if peak is None else f"{peak:.0%}"} | {found["of_product"]:.0%} | '
            f'{found["memory"] / 2**10:.1f} | {"" if ratio is None else f"{ratio:.3f}"} |')
    machines = sorted({f'{found["device"]}, torch {found["torch"]}' for found in results.values()
                       if 'failed' not in found})
    return '\n'.join([*machines, '', *lines, ''])


def _ratio(row: Row, results: Dict[Row, Figures]) -> Optional[float]:
    peer = next(method for method in CONFIGS[row.encoder] if method != 'WaMIM')
    found = results.get(Row(row.encoder, peer, row.mode, row.batch), {})
    if row.method != 'WaMIM' or 'seconds' not in found:
        return None
    return results[row]['seconds'] / found['seconds']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu'), metavar='FOLDER',
                        help='for the figures of each row and the table')
    parser.add_argument('--encoders', nargs='+', choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument('--modes', nargs='+', choices=MODES, default=list(MODES))
    parser.add_argument('--batches', nargs='+', type=int, default=[64, 128, 256, 512, 1024])
    parser.add_argument('--rounds', type=int, default=20, help='steps that are timed')
    parser.add_argument('--warmup', type=int, default=5)
    parser.add_argument('--timeout', type=int, default=1800, metavar='SECONDS',
                        help='after which a row has failed')
    parser.add_argument('--device', default=best_device())
    parser.add_argument('--rehearse', action='store_true',
                        help='networks of a few thousand weights, to try the script itself')
    parser.add_argument('--row', help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> None:
    options = dict(rounds=args.rounds, warmup=args.warmup, device=args.device,
                   rehearse=args.rehearse)
    if not args.device.startswith('cuda') and not args.rehearse:
        raise UserError('there is no GPU; --rehearse tries the script on the CPU, and '
                        'tools/benchmark/step.py measures there')
    if args.row:
        print(json.dumps(measure(Row(*json.loads(args.row)), **options)))
        return
    rows = list(list_rows(args.encoders, args.modes, args.batches))
    print(format_table(measure_rows(rows, args.out, timeout=args.timeout, **options)))
