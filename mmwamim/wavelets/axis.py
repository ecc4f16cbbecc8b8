r"""One step of a transform along one axis: analysis and synthesis.

With the taps :math:`h_k`, :math:`k \in \{0, 1\}`, of low- and high-pass,

.. math:: y_k[i] = \sum_j h_k[j] \, \tilde x[2i + 1 - j],

where :math:`\tilde x` is :math:`x` continued beyond its borders; the stationary step keeps every
value and sets the taps :math:`s` apart. Every such step is linear, and there are two ways to it:

- sums of shifted slices, a multiply-add for each tap: any device, no constants but Python numbers,
  so it is what compilers, fake tensors and long signals get;
- one product with a matrix that holds filters and borders, which PyWavelets makes of the unit
  vectors; kept per device. For signals of some hundred values this is faster, since a processor
  multiplies matrices at full speed and adds slices at the speed of its memory.

Rounding is the same: a matrix adds nothing but zeros.
"""
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from math import prod
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np
import pywt
import torch
from torch import Tensor

from .borders import extend
from .filters import Key, as_pywt, filters

# Values of the signal for each tap up to which a product is the faster way.
VALUES_A_TAP = 64
LONGEST = 1024  # a matrix of float32 then has 4 MiB


class Step(NamedTuple):
    """What is done along an axis.

    Args:
        wavelet: Name of a discrete wavelet, or filters.
        mode: How the signal goes on beyond its borders; the stationary step is periodic.
        dilation: 0: every second value is kept; s = 1, 2, 4, ...: all are, with taps s apart.
        scale: Multiplies the taps.
    """
    wavelet: Key
    mode: str = 'periodization'
    dilation: int = 0
    scale: float = 1.


def analyse(x: Tensor, step: Step, ndim: int, details: bool = True) -> List[Tensor]:
    """One step along each of the last ``ndim`` axes.

    Returns:
        2^ndim bands, the first axis' choice of low- and high-pass first: for two axes low-low,
        low-high, high-low, high-high. Without ``details`` the first one alone.
    """
    for dim in range(-ndim, 0):
        x = _analysis(x, step, dim, details)
    bands = [x]
    for dim in range(-ndim, 0) if details else ():
        bands = [half for band in bands for half in band.chunk(2, dim)]
    # Autograd forbids to write to one of several views of a tensor.
    return [band.clone() for band in bands] if x.requires_grad and details else bands


def synthesise(bands: Sequence[Tensor], step: Step, ndim: int) -> Tensor:
    """Inverts :func:`analyse`."""
    for dim in range(-1, -ndim - 1, -1):
        bands = [_synthesis(low, high, step, dim) for low, high in zip(bands[::2], bands[1::2])]
    return bands[0]


def halved(size: int, step: Step) -> int:
    """How many values each half of a signal of ``size`` values has."""
    if step.dilation:
        return size
    if step.mode == 'periodization':
        return (size + 1) // 2
    return (size + filters(step.wavelet).length - 1) // 2


def doubled(size: int, step: Step) -> int:
    """How many values two halves of ``size`` values are put together to."""
    if step.dilation:
        return size
    return 2 * size - (0 if step.mode == 'periodization' else filters(step.wavelet).length - 2)


def _analysis(x: Tensor, step: Step, dim: int, details: bool) -> Tensor:
    """(..., n, ...) -> (..., low-pass and, behind it, high-pass, ...)"""
    size, out = x.shape[dim], halved(x.shape[dim], step)
    if step.mode in ('reflect', 'antireflect') and size == 1:
        extend(x, 1, 1, step.mode, dim)  # raises
    if _is_product(x, step, dim):
        matrix = _analysis_matrix(step, size, x.dtype, x.device)
        return _product(x, matrix if details else matrix[:, :out], dim)
    bank = filters(step.wavelet)
    mode, length = step.mode, bank.length
    gap, stride = (step.dilation, 1) if step.dilation else (1, 2)
    if mode == 'periodization':
        if size % 2 and stride == 2:  # an odd signal repeats its last value, then goes round
            x = torch.cat([x, x.narrow(dim, size - 1, 1)], dim)
        mode, left = 'periodic', gap * (length // 2 - 1)
    else:
        left = length - 2
    right = gap * (length - 1) + stride * (out - 1) + 1 - left - x.shape[dim]
    x = extend(x, left, right, mode, dim)
    parts = [_slice(x, gap * (length - 1 - j), out, stride, dim) for j in range(length)]
    halves = [_sum(zip(taps, parts), step.scale) for taps in bank.analysis[:2 if details else 1]]
    return torch.cat(halves, dim) if details else halves[0]


def _synthesis(low: Tensor, high: Tensor, step: Step, dim: int) -> Tensor:
    """Inverts :func:`_analysis` of an even signal, from its two halves."""
    size = low.shape[dim]
    if doubled(size, step) < 1:
        length = filters(step.wavelet).length
        raise ValueError(f'subbands of {size} values are too short for the {length} taps of the '
                         f'wavelet with mode {step.mode!r}: they need {length // 2}')
    if _is_product(low, step, dim):
        matrix = _synthesis_matrix(step, size, low.dtype, low.device)
        return _product(torch.cat([low, high], dim), matrix, dim)
    phases = _synthesis_terms(step)
    shifts = [shift for terms in phases for _, _, shift in terms]
    left, count = 0, size - max(shifts)
    if step.mode == 'periodization':
        left, count = max(0, -min(shifts)), size
        low, high = (extend(half, left, max(0, *shifts), 'periodic', dim) for half in (low, high))
    values = []
    for terms in phases:
        sums = [_sum([(tap, _slice((low, high)[half], left + shift, count, 1, dim))
                      for half, tap, shift in terms if half == which], step.scale)
                for which in (0, 1)]
        values.append(sums[0] + sums[1])
    if len(values) == 1:
        return values[0]
    return torch.stack(values, dim).flatten(dim - 1, dim)  # even and odd places in turn


def _synthesis_terms(step: Step) -> List[List[Tuple[int, float, int]]]:
    """For each phase p of the result, x[phases * n + p] as a sum of tap * half[n + shift]."""
    bank = filters(step.wavelet)
    pairs, length = list(enumerate(bank.synthesis)), bank.length
    if step.dilation:  # the mean of the two signals that even and odd values alone would give
        return [[(half, taps[j] / 2, step.dilation * (length // 2 - 1 - j))
                 for half, taps in pairs for j in range(length)]]
    start = length // 2 - 1 if step.mode == 'periodization' else length - 2
    return [[(half, taps[j], (phase + start - j) // 2)
             for half, taps in pairs for j in range((phase + start) % 2, length, 2)]
            for phase in (0, 1)]


def _slice(x: Tensor, start: int, count: int, stride: int, dim: int) -> Tensor:
    index = slice(start, start + stride * (count - 1) + 1, stride)
    return x[(..., index) + (slice(None), ) * (-1 - dim)]


def _sum(terms, scale: float) -> Tensor:
    """The sum of tap * part; taps that are zero cost nothing."""
    total = part = None
    for tap, part in terms:
        if tap == 0:
            continue
        tap *= scale
        total = part * tap if total is None else total.add_(part, alpha=tap)
    return torch.zeros_like(part) if total is None else total


def _is_product(x: Tensor, step: Step, dim: int) -> bool:
    """Whether the step is done by a matrix: where that is faster and as exact."""
    if torch.compiler.is_compiling() or type(x) not in (Tensor, torch.nn.Parameter):
        return False
    if x.shape[dim] > min(LONGEST, VALUES_A_TAP * filters(step.wavelet).length):
        return False
    return x.dtype == torch.float64 or _keeps_float32(x.device)


def _keeps_float32(device: torch.device) -> bool:
    """Whether products do; 'tf32' and 'bf16' leave 10 and 7 of its 23 bits."""
    backend = torch.backends.cuda if device.type == 'cuda' else torch.backends.mkldnn
    try:
        return backend.matmul.fp32_precision in ('none', 'ieee')
    except AttributeError:  # before torch 2.9
        return torch.get_float32_matmul_precision() == 'highest'


def _product(x: Tensor, matrix: Tensor, dim: int) -> Tensor:
    """(..., n, ...) times (n, m) -> (..., m, ...)"""
    if x.device.type != 'meta' and torch.is_autocast_enabled(x.device.type):
        return _WithoutAutocast.apply(x, matrix, dim)
    if dim == -1:
        return x @ matrix
    rest = x.shape[dim + 1:]
    product = matrix.mT @ x.reshape(*x.shape[:dim + 1], prod(rest))
    return product.reshape(*x.shape[:dim], matrix.shape[1], *rest)


class _WithoutAutocast(torch.autograd.Function):
    """:func:`_product` in its numbers' own precision, also where it is derived inside autocast,
    which would make gradients of bfloat16: products alone are what autocast changes here."""

    @staticmethod
    def forward(x: Tensor, matrix: Tensor, dim: int) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return _product(x, matrix, dim)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        _, matrix, ctx.dim = inputs
        ctx.save_for_backward(matrix)
        ctx.save_for_forward(matrix)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return _WithoutAutocast.apply(grad, ctx.saved_tensors[0].mT, ctx.dim), None, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_) -> Tensor:
        return _WithoutAutocast.apply(tangent, ctx.saved_tensors[0], ctx.dim)

    @staticmethod
    def vmap(info, in_dims, x: Tensor, matrix: Tensor, dim: int):
        return _WithoutAutocast.apply(x.movedim(in_dims[0], 0), matrix, dim), 0


@lru_cache(maxsize=128)
def _analysis_matrix(step: Step, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(size, 2 * halved(size)): low-pass, then high-pass."""
    wavelet = as_pywt(step.wavelet)
    if step.dilation:
        low, high = pywt.swt(np.eye(size // step.dilation), wavelet, level=1, axis=-1)[0]
    else:
        low, high = pywt.dwt(np.eye(size), wavelet, step.mode, axis=-1)
    return _constant(np.concatenate([_dilated(half, step) for half in (low, high)], axis=1),
                     dtype, device)


@lru_cache(maxsize=128)
def _synthesis_matrix(step: Step, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(2 * size, doubled(size)): of low-pass, then high-pass halves of ``size`` values."""
    wavelet = as_pywt(step.wavelet)
    unit = np.eye(size // max(1, step.dilation))
    halves = ((unit, 0 * unit), (0 * unit, unit))
    if step.dilation:
        matrices = [pywt.iswt([pair], wavelet, axis=-1) for pair in halves]
    else:
        matrices = [pywt.idwt(*pair, wavelet, step.mode, axis=-1) for pair in halves]
    return _constant(np.concatenate([_dilated(matrix, step) for matrix in matrices]), dtype, device)


def _dilated(matrix: np.ndarray, step: Step) -> np.ndarray:
    """The same step on each of the ``dilation`` signals that lie in one another."""
    return step.scale * np.kron(matrix, np.eye(max(1, step.dilation)))


def _constant(values: np.ndarray, dtype: torch.dtype, device: torch.device) -> Tensor:
    # Made once and used everywhere, so it must not belong to what its first use is in: inference
    # mode, a function to be derived, fake tensors. All of these are a thread's own.
    kind = np.float64 if dtype == torch.float64 else np.float32
    plain = np.ascontiguousarray(values, dtype=kind)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: torch.from_numpy(plain).to(device)).result()
