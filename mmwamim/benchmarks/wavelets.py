"""Times the wavelet transform against other libraries, in turn in one process, and compares
the values of all with PyWavelets' in float64.

    python tools/benchmark/wavelets.py
    python tools/benchmark/wavelets.py --device cuda --amp
"""
import argparse
import importlib.util
import statistics
import time
import warnings
from functools import partial
from typing import Callable, Dict, List, NamedTuple

import pywt
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mmwamim.errors import UserError
from mmwamim.models import WaveletTargetGenerator
from mmwamim.wavelets import wavedec2

WAVELETS = ('haar', 'db2', 'db4', 'sym4', 'coif1', 'bior2.2')
LEVEL = 5


class Timed(NamedTuple):
    """What was measured."""
    times: Dict[str, List[float]]  # milliseconds of each case, a round each
    errors: Dict[str, Dict[str, float]]  # of each wavelet and library, from PyWavelets in float64


def measure(*, batch: int = 32, size: int = 224, rounds: int = 30, device: str = 'cpu',
            amp: bool = False) -> Timed:
    """Times all libraries and our targets on noise (batch, 3, size, size), in turn.

    Raises:
        UserError: ptwt, the peer, is not installed.
    """
    if not importlib.util.find_spec('ptwt'):
        raise UserError('the peer of this benchmark is not installed: pip install ptwt==1.0.1')
    torch.manual_seed(0)
    x = torch.randn(batch, 3, size, size, device=device)
    cases = {
        'Haar levels 2-5, as the targets need': partial(wavedec2, x, 'haar', LEVEL,
                                                        detail_levels=(2, 3, 4, 5)),
        'targets: Haar levels 2-5, normalised': partial(WaveletTargetGenerator(), x),
    }
    peers = {name: libraries(x, name) for name in WAVELETS}
    for name, calls in peers.items():
        cases.update({f'{name}, {library}': call for library, call in calls.items()})
    times: Dict[str, List[float]] = {name: [] for name in cases}
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=amp):
        for turn in range(rounds + 3):
            for name, call in cases.items():
                milliseconds = timed(call, device)
                if turn >= 3:
                    times[name].append(milliseconds)
    errors = {}
    for name, calls in peers.items():
        exact = bands(pywt.wavedec2(x.cpu().double().numpy(), name, 'zero', LEVEL), 'PyWavelets')
        errors[name] = {library: error(call, library, exact) for library, call in calls.items()}
    return Timed(times, errors)


def libraries(x: Tensor, wavelet: str) -> Dict[str, Callable]:
    """A call for every library that is installed and works on the device of ``x``."""
    import ptwt
    calls = {'mmwamim': partial(wavedec2, x, wavelet, LEVEL),
             'ptwt': partial(ptwt.wavedec2, x, wavelet, level=LEVEL, mode='zero')}
    if importlib.util.find_spec('pytorch_wavelets'):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            from pytorch_wavelets import DWTForward
        calls['pytorch_wavelets'] = partial(
            DWTForward(LEVEL, wavelet, 'zero').to(x.device), x)
    if x.device.type == 'cpu':
        calls['PyWavelets'] = partial(pywt.wavedec2, x.numpy(), wavelet, 'zero', LEVEL)
    return calls


def bands(coefficients, library: str) -> List[Tensor]:
    """Last approximation, then details from coarse to fine; three bands a level."""
    if library == 'mmwamim':
        coefficients = [coefficients[-1][0], *(level[1:] for level in coefficients[::-1])]
    if library == 'pytorch_wavelets':
        approximation, details = coefficients
        coefficients = [approximation, *(level.unbind(2) for level in details[::-1])]
    return [torch.as_tensor(band).cpu().double() for band in tree_leaves(coefficients)]


def error(call: Callable, library: str, exact: List[Tensor]) -> float:
    """The largest difference from ``exact``, relative to the largest value there."""
    largest = max(band.abs().max() for band in exact)
    return max(float((ours - theirs).abs().max() / largest)
               for ours, theirs in zip(bands(call(), library), exact, strict=True))


def timed(call: Callable, device: str) -> float:
    if device.startswith('cuda'):
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if device.startswith('cuda'):
        torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1e3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rounds', type=int, default=30)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--amp', action='store_true', help='run inside bfloat16 autocast')


def run(args: argparse.Namespace) -> None:
    times, errors = measure(**vars(args))
    print(f'{args.batch}x3x{args.size}x{args.size}, {LEVEL} levels, {args.device}, '
          f'{torch.get_num_threads()} threads, torch {torch.__version__}, {args.rounds} rounds in '
          'turn')
    for name, values in times.items():
        print(f'  {name:<40} median {statistics.median(values):7.2f} ms   '
              f'({min(values):.2f} to {max(values):.2f})')
    print('time / ours, of medians and of the fastest, and error: the largest difference from '
          'PyWavelets in float64, as a share of the largest coefficient')
    for name, found in errors.items():
        for library, largest in found.items():
            ratios = [of(times[f'{name}, {library}']) / of(times[f'{name}, mmwamim'])
                      for of in (statistics.median, min)]
            print(f'  {name:<8} {library:<17} {ratios[0]:6.2f} {ratios[1]:6.2f}   {largest:.1e}')
