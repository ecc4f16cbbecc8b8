"""Times a pre-training step of WaMIM against its peer of mmpretrain, in turn in one process.

    python tools/benchmark/step.py                            # ViT-B and MAE, batch 16, CPU
    python tools/benchmark/step.py --encoder swin_b --batch 8 # Swin-B and SimMIM at 192 px
    python tools/benchmark/step.py --memory --batch 64        # peak memory, a process each
    python tools/benchmark/step.py --device cuda --amp --batch 256

A step is forward and backward on random images, no data loading, no optimizer. "Encoder" is our
encoder alone on the visible patches, "dense encoder" its mmpretrain parent on all of them. For
Swin the time on the CPU that planning the attention groups of a step takes is printed as well.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = dict(vit_b='configs/wamim/vit_b_400e.py', vit_s='configs/wamim/vit_s_300e.py',
               swin_b='configs/wamim/swin_b_400e.py')
PEERS = dict(vit_b='MAE', vit_s='MAE', swin_b='SimMIM-192')
ARCHS = dict(vit_b=('base', 768), vit_s=('deit-small', 384))


def build_peer(encoder: str) -> torch.nn.Module:
    """mmpretrain's MAE with its 8 x 512 decoder, or its SimMIM Swin-B at 192 px, window 6."""
    if encoder == 'swin_b':
        return MODELS.build(dict(
            type='SimMIM',
            backbone=dict(type='SimMIMSwinTransformer', arch='base', img_size=192,
                          stage_cfgs=dict(block_cfgs=dict(window_size=6)), drop_path_rate=0.),
            neck=dict(type='SimMIMLinearDecoder', in_channels=8 * 128, encoder_stride=32),
            head=dict(type='SimMIMHead', patch_size=4,
                      loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3))))
    arch, width = ARCHS[encoder]
    return MODELS.build(dict(
        type='MAE',
        backbone=dict(type='MAEViT', arch=arch, patch_size=16, mask_ratio=0.75),
        neck=dict(type='MAEPretrainDecoder', patch_size=16, in_chans=3, embed_dim=width,
                  decoder_embed_dim=512, decoder_depth=8, decoder_num_heads=16, mlp_ratio=4.),
        head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=16,
                  loss=dict(type='PixelReconstructionLoss', criterion='L2'))))


def prepare(name: str, encoder: str, batch: int, device: str) -> Tuple[torch.nn.Module, Callable]:
    """The model, and a function that does the forward pass of one step and returns its loss."""
    peer = name == PEERS[encoder]
    model = build_peer(encoder) if peer else MODELS.build(Config.fromfile(
        ROOT / CONFIGS[encoder]).model)
    model = model.to(device).train()
    size = 192 if name == 'SimMIM-192' else 224
    images = torch.randn(batch, 3, size, size, device=device)
    if name == 'SimMIM-192':
        units = torch.rand(batch, 36, device=device).argsort(1).view(batch, 6, 6) < 22  # 0.6
        mask = units.int().repeat_interleave(8, 1).repeat_interleave(8, 2)
        samples = [DataSample() for _ in mask]
        for sample, one in zip(samples, mask):
            sample.set_field(one, 'mask')
        return model, lambda: sum(model.loss(images, samples).values())
    if peer or name == 'WaMIM':
        return model, lambda: sum(model.loss(images, None).values())

    def encode() -> torch.Tensor:
        mask = None if name == 'dense encoder' else model.draw_mask(images)
        return sum(level.float().mean() for level in model.backbone(images, mask))

    return model.backbone, encode


def step(model: torch.nn.Module, forward: Callable[[], torch.Tensor], device: str,
         amp: bool) -> float:
    """Forward and backward; its seconds."""
    def wait() -> None:
        if device.startswith('cuda'):
            torch.cuda.synchronize()

    wait()
    started = time.perf_counter()
    with torch.autocast(device.split(':')[0], dtype=torch.bfloat16, enabled=amp):
        loss = forward()
    loss.backward()
    wait()
    seconds = time.perf_counter() - started
    model.zero_grad(set_to_none=True)
    return seconds


def measure_grouping(model: torch.nn.Module, rounds: int = 100) -> float:
    """Milliseconds a step of planning which visible tokens of Swin attend together."""
    images, times = torch.empty(1, 3, 224, 224), []
    for _ in range(rounds):
        mask = model.draw_mask(images)
        started = time.perf_counter()
        model.backbone.plan_groups(images, mask)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


def measure_time(args: argparse.Namespace) -> None:
    peer = PEERS[args.encoder]
    names = ['WaMIM', peer, 'encoder', 'dense encoder']
    contestants = {name: prepare(name, args.encoder, args.batch, args.device) for name in names}
    times: Dict[str, list] = {name: [] for name in names}
    started = time.time()
    for turn in range(args.warmup + args.rounds):
        for name, (model, forward) in contestants.items():
            seconds = step(model, forward, args.device, args.amp)
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
        print(f'  {name:<13} {median[name]:8.3f} s a step ({spread})'
              f' {args.batch / median[name]:10.1f} images/s')
    # Other work on the machine only ever adds time: the fastest steps are the second opinion.
    for ours, theirs in (('WaMIM', peer), ('WaMIM', 'encoder'), ('encoder', 'dense encoder')):
        print(f'  {ours} / {theirs} {median[ours] / median[theirs]:.3f} '
              f'(of the fastest steps {min(times[ours]) / min(times[theirs]):.3f})')
    if args.encoder == 'swin_b':
        print(f'  grouping {measure_grouping(contestants["WaMIM"][0]):.3f} ms a step')


def peak_memory(name: str, args: argparse.Namespace) -> None:
    """Runs two steps and prints the peak in MiB: allocated on a GPU, resident on the CPU."""
    model, forward = prepare(name, args.encoder, args.batch, args.device)
    for _ in range(2):
        step(model, forward, args.device, args.amp)
    peak = torch.cuda.max_memory_allocated() / 2**20 if args.device.startswith('cuda') else \
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps(dict(peak=peak)))


def measure_memory(args: argparse.Namespace) -> None:
    command = [sys.executable, '-W', 'ignore', __file__, '--device', args.device, '--encoder',
               args.encoder, '--batch', str(args.batch)] + ['--amp'] * args.amp
    peaks, peer = {}, PEERS[args.encoder]
    for name in ('WaMIM', peer):
        print(f'measuring {name} in a process of its own', file=sys.stderr, flush=True)
        output = subprocess.run([*command, '--one', name], check=True, stdout=subprocess.PIPE,
                                text=True).stdout
        peaks[name] = json.loads(output.splitlines()[-1])['peak']
    print(f'{args.encoder}, batch {args.batch}, {args.device}, peak memory of two steps')
    for name, peak in peaks.items():
        print(f'  {name:<10} {peak:8.0f} MiB')
    print(f'  WaMIM / {peer} {peaks["WaMIM"] / peaks[peer]:.3f}')


def main() -> None:
    parser = argparse.ArgumentParser(description='Time or weigh a pre-training step')
    parser.add_argument('--encoder', choices=CONFIGS, default='vit_b')
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--amp', action='store_true', help='bfloat16 networks')
    parser.add_argument('--memory', action='store_true', help='peak memory instead of time')
    parser.add_argument('--one', help=argparse.SUPPRESS)
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
