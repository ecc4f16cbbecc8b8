"""Times a pre-training step of WaMIM against mmpretrain's MAE, in turn in one process.

    python tools/benchmark/step.py                          # ViT-B, batch 16, float32, CPU
    python tools/benchmark/step.py --memory --batch 64      # peak memory, a process each
    python tools/benchmark/step.py --device cuda --amp --batch 256

A step is forward and backward on random images, no data loading, no optimizer.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

ROOT = Path(__file__).resolve().parents[2]
ARCHS = dict(vit_b=('configs/wamim/vit_b_400e.py', 'base', 768),
             vit_s=('configs/wamim/vit_s_300e.py', 'deit-small', 384))


def build(name: str, encoder: str) -> torch.nn.Module:
    """WaMIM as configured, or mmpretrain's MAE with its 8 x 512 decoder."""
    config, arch, width = ARCHS[encoder]
    if name == 'WaMIM':
        model = Config.fromfile(ROOT / config).model
    else:
        model = dict(
            type='MAE',
            backbone=dict(type='MAEViT', arch=arch, patch_size=16, mask_ratio=0.75),
            neck=dict(type='MAEPretrainDecoder', patch_size=16, in_chans=3, embed_dim=width,
                      decoder_embed_dim=512, decoder_depth=8, decoder_num_heads=16, mlp_ratio=4.),
            head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=16,
                      loss=dict(type='PixelReconstructionLoss', criterion='L2')))
    return MODELS.build(model).train()


def step(model: torch.nn.Module, images: torch.Tensor, amp: bool) -> float:
    """One step; its seconds."""
    def wait() -> None:
        if images.is_cuda:
            torch.cuda.synchronize()

    wait()
    started = time.perf_counter()
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=amp):
        losses = model.loss(images, None)
    sum(losses.values()).backward()
    wait()
    seconds = time.perf_counter() - started
    model.zero_grad(set_to_none=True)
    return seconds


def measure_time(args: argparse.Namespace) -> None:
    images = torch.randn(args.batch, 3, 224, 224, device=args.device)
    names = ('WaMIM', 'MAE')
    models = {name: build(name, args.encoder).to(args.device) for name in names}
    times = {name: [] for name in names}
    started = time.time()
    for turn in range(args.warmup + args.rounds):
        for name, model in models.items():
            seconds = step(model, images, args.amp)
            if turn >= args.warmup:
                times[name].append(seconds)
        left = (time.time() - started) / (turn + 1) * (args.warmup + args.rounds - turn - 1)
        print(f'\rround {turn + 1}/{args.warmup + args.rounds}, {left:.0f} s left ', end='',
              file=sys.stderr, flush=True)
    print(file=sys.stderr)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f'{args.encoder}, batch {args.batch}, {args.device}, '
          f'{"bfloat16" if args.amp else "float32"}, {torch.get_num_threads()} threads, '
          f'torch {torch.__version__}, median of {args.rounds} rounds in turn')
    for name in names:
        spread = f'{min(times[name]):.3f} to {max(times[name]):.3f}'
        print(f'  {name:<6} {median[name]:8.3f} s a step ({spread})'
              f' {args.batch / median[name]:10.1f} images/s')
    # Other work on the machine only ever adds time: the fastest steps are the second opinion.
    print(f'  WaMIM / MAE {median["WaMIM"] / median["MAE"]:.3f} '
          f'(of the fastest steps {min(times["WaMIM"]) / min(times["MAE"]):.3f})')


def peak_memory(name: str, args: argparse.Namespace) -> None:
    """Runs two steps and prints the peak in MiB: allocated on a GPU, resident on the CPU."""
    images = torch.randn(args.batch, 3, 224, 224, device=args.device)
    model = build(name, args.encoder).to(args.device)
    for _ in range(2):
        step(model, images, args.amp)
    peak = torch.cuda.max_memory_allocated() / 2**20 if images.is_cuda else \
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps(dict(peak=peak)))


def measure_memory(args: argparse.Namespace) -> None:
    command = [sys.executable, '-W', 'ignore', __file__, '--device', args.device, '--encoder',
               args.encoder, '--batch', str(args.batch)] + ['--amp'] * args.amp
    peaks = {}
    for name in ('WaMIM', 'MAE'):
        print(f'measuring {name} in a process of its own', file=sys.stderr, flush=True)
        output = subprocess.run([*command, '--one', name], check=True, stdout=subprocess.PIPE,
                                text=True).stdout
        peaks[name] = json.loads(output.splitlines()[-1])['peak']
    print(f'{args.encoder}, batch {args.batch}, {args.device}, peak memory of two steps')
    for name, peak in peaks.items():
        print(f'  {name:<6} {peak:8.0f} MiB')
    print(f'  WaMIM / MAE {peaks["WaMIM"] / peaks["MAE"]:.3f}')


def main() -> None:
    parser = argparse.ArgumentParser(description='Time or weigh a pre-training step')
    parser.add_argument('--encoder', choices=ARCHS, default='vit_b')
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--amp', action='store_true', help='bfloat16 networks')
    parser.add_argument('--memory', action='store_true', help='peak memory instead of time')
    parser.add_argument('--one', choices=['WaMIM', 'MAE'], help=argparse.SUPPRESS)
    args = parser.parse_args()
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    if args.one:
        peak_memory(args.one, args)
    elif args.memory:
        measure_memory(args)
    else:
        measure_time(args)


if __name__ == '__main__':
    main()
