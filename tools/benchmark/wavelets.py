"""Times the wavelet transform against ptwt, in turn in one process.

    python tools/benchmark/wavelets.py [--device cuda --amp]
"""
import argparse
import statistics
import sys
import time
from functools import partial

import torch

from mmwamim.errors import told_in_one_line
from mmwamim.models import WaveletTargetGenerator
from mmwamim.wavelets import wavedec2

WAVELETS = ('db2', 'db4', 'sym4', 'coif1', 'bior2.2')


def timed(call, device: str) -> float:
    if device.startswith('cuda'):
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if device.startswith('cuda'):
        torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1e3


@told_in_one_line()
def main() -> None:
    parser = argparse.ArgumentParser(description='Time the wavelet transform')
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rounds', type=int, default=30)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--amp', action='store_true', help='run inside bfloat16 autocast')
    args = parser.parse_args()
    try:
        import ptwt
    except ImportError:
        sys.exit('error: the peer of this benchmark is not installed: pip install ptwt==1.0.1')
    torch.manual_seed(0)
    x = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
    targets = WaveletTargetGenerator()
    cases = {
        'Haar levels 2-5, as the targets need': lambda: wavedec2(x, 'haar', 5,
                                                                detail_levels=(2, 3, 4, 5)),
        'Haar all 5 levels': lambda: wavedec2(x, 'haar', 5),
        'targets: Haar levels 2-5, normalised': lambda: targets(x),
        'ptwt.wavedec2 Haar 5 levels': lambda: ptwt.wavedec2(x, 'haar', level=5, mode='zero'),
    }
    for name in WAVELETS:
        cases[f'{name} all 5 levels'] = partial(wavedec2, x, name, 5)
        cases[f'ptwt.wavedec2 {name} 5 levels'] = partial(ptwt.wavedec2, x, name, level=5,
                                                          mode='zero')
    times = {name: [] for name in cases}
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=args.amp):
        for turn in range(args.rounds + 3):
            for name, call in cases.items():
                milliseconds = timed(call, args.device)
                if turn >= 3:
                    times[name].append(milliseconds)
    print(f'{args.batch}x3x{args.size}x{args.size}, {args.device}, {torch.get_num_threads()} '
          f'threads, torch {torch.__version__}, {args.rounds} rounds in turn')
    for name, values in times.items():
        print(f'  {name:<40} median {statistics.median(values):7.2f} ms   '
              f'({min(values):.2f} to {max(values):.2f})')
    ours = statistics.median(times['Haar levels 2-5, as the targets need'])
    theirs = statistics.median(times['ptwt.wavedec2 Haar 5 levels'])
    print(f'  ptwt / ours, Haar levels 2-5: {theirs / ours:.1f}')
    for name in WAVELETS:
        ratio = (statistics.median(times[f'ptwt.wavedec2 {name} 5 levels'])
                 / statistics.median(times[f'{name} all 5 levels']))
        print(f'  ptwt / ours, {name}: {ratio:.2f}')


if __name__ == '__main__':
    main()
