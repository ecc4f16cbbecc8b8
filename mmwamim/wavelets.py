r"""2-D discrete wavelet transforms in PyTorch, equal to PyWavelets.

Pure functions on tensors of shape (B, C, H, W): :func:`dwt2` and :func:`idwt2` for one level,
:func:`wavedec2` and :func:`waverec2` for several. One level of the transform of a signal
:math:`x` with the low- and high-pass analysis filters :math:`h_0, h_1` is

.. math:: y_k[i] = \sum_j h_k[j] \, \tilde x[2i + 1 - j], \qquad k \in \{0, 1\}

along each of the two axes, where :math:`\tilde x` is :math:`x` extended beyond its borders as
the mode says. Filters and extensions are PyWavelets' own; filtering is done in float64 and its
result rounded once a level to float32 (float64 for float64 input), also under autocast.

Haar on even sizes needs no extension and no filter: each 2x2 block is one butterfly. That path
is taken by itself where it applies, since every mode gives the same values there.
"""
from functools import lru_cache, wraps
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import pywt
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['Subbands', 'dwt2', 'idwt2', 'wavedec2', 'waverec2']


class Subbands(NamedTuple):
    """The four subbands of one level, each (B, C, h, w) or None where it was not asked for.

    ``approximation`` is low-pass along both axes; ``horizontal`` is high-pass along the rows'
    axis (H), ``vertical`` along the columns' axis (W), ``diagonal`` along both: PyWavelets'
    ``cA, (cH, cV, cD)``.
    """
    approximation: Optional[Tensor]
    horizontal: Optional[Tensor]
    vertical: Optional[Tensor]
    diagonal: Optional[Tensor]


def _without_autocast(transform):
    """Runs ``transform`` with autocast off: coefficients are small differences of large numbers,
    and half precision would leave little of them."""

    @wraps(transform)
    def run(data, *args, **kwargs):
        tensors = _tensors(data)
        if not tensors:
            raise ValueError('no coefficients were given: at least one level is needed')
        for tensor in tensors:
            _check_type(tensor, transform.__name__)
        with torch.autocast(tensors[0].device.type, enabled=False):
            return transform(data, *args, **kwargs)

    return run


def _tensors(data) -> list:
    """The tensors of a tensor, of Subbands, or of a list of Subbands; what is none of these as it
    is."""
    if not isinstance(data, (list, tuple)):
        return [data]
    bands = [band for part in data for band in (part if isinstance(part, tuple) else [part])]
    return [band for band in bands if band is not None]


def _check_type(tensor, name: str) -> None:
    """Raises TypeError unless ``tensor`` is a real torch tensor."""
    if not isinstance(tensor, Tensor):
        hint = ': torch.from_numpy(x) makes one of it' if isinstance(tensor, np.ndarray) else ''
        raise TypeError(f'{name} takes torch tensors (B, C, H, W), not '
                        f'{type(tensor).__module__}.{type(tensor).__qualname__}{hint}')
    if tensor.is_complex():
        raise TypeError(f'{name} takes real tensors, not {tensor.dtype}: transform x.real and '
                        'x.imag one after the other')


@_without_autocast
def dwt2(x: Tensor, wavelet: str = 'haar', mode: str = 'zero') -> Subbands:
    """One level of the 2-D discrete wavelet transform.

    Args:
        x: Images (B, C, H, W), any size, any number type; half precision and integers are
            computed and returned in float32.
        wavelet: Name of a discrete wavelet of PyWavelets, such as 'haar', 'db4', 'bior2.2'.
        mode: PyWavelets' signal extension mode, such as 'zero', 'symmetric', 'periodization'.

    Returns:
        Subbands of floor((H + F - 1) / 2) rows for a filter of length F (ceil(H / 2) with
        'periodization'), the same along W.

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: ``wavelet`` or ``mode`` is unknown, ``x`` has not four dimensions, or an axis
            of one value is to be reflected (PyWavelets refuses that too).

    Example:
        >>> dwt2(torch.ones(1, 1, 4, 4)).approximation[0, 0]
        tensor([[2., 2.],
                [2., 2.]])
    """
    x, filters, mode = _check(x, wavelet, mode)
    if _has_butterfly(filters, x):
        return _haar_level(x, details=True)
    return _filter_level(x, filters, mode)


@_without_autocast
def idwt2(subbands: Subbands, wavelet: str = 'haar', mode: str = 'zero') -> Tensor:
    """Inverts :func:`dwt2`.

    Args:
        subbands: Four tensors (B, C, h, w) of one shape.
        wavelet: As in :func:`dwt2`.
        mode: As in :func:`dwt2`; only 'periodization' changes the inverse.

    Returns:
        Images (B, C, 2h - F + 2, 2w - F + 2) for a filter of length F, or (B, C, 2h, 2w) with
        'periodization': the input of :func:`dwt2`, one row or column longer where that was odd.

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: ``wavelet`` or ``mode`` is unknown, or a subband is missing.
    """
    if any(band is None for band in subbands):
        missing = [name for name, band in zip(Subbands._fields, subbands) if band is None]
        raise ValueError(f'idwt2 needs all four subbands, but {", ".join(missing)} is None')
    approximation, filters, mode = _check(subbands[0], wavelet, mode)
    low = _synthesis(subbands[0], subbands[1], filters, mode, dim=-2)
    high = _synthesis(subbands[2], subbands[3], filters, mode, dim=-2)
    return _synthesis(low, high, filters, mode, dim=-1).to(approximation.dtype)


@_without_autocast
def wavedec2(x: Tensor,
             wavelet: str = 'haar',
             level: int = 5,
             mode: str = 'zero',
             detail_levels: Optional[Sequence[int]] = None) -> List[Subbands]:
    """Multi-level 2-D discrete wavelet transform.

    Args:
        x: Images (B, C, H, W).
        wavelet: As in :func:`dwt2`.
        level: Number of levels, at least 1. There is no upper limit, as in ``pywt.wavedec2``
            with its warning switched off.
        mode: As in :func:`dwt2`.
        detail_levels: The levels (from 1, the finest) whose detail subbands are wanted; those of
            the others are None, and with Haar on divisible sizes never computed. Default: all.

    Returns:
        ``level`` Subbands, finest first. The last one's ``approximation`` is the cA of
        ``pywt.wavedec2``; every other level carries its own approximation as well, unless its
        details were not asked for.

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: ``wavelet``, ``mode`` or ``level`` is not usable.

    Example:
        >>> coefficients = wavedec2(torch.rand(2, 3, 224, 224), 'haar', level=5)
        >>> [tuple(subbands.horizontal.shape[-2:]) for subbands in coefficients]
        [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7)]
    """
    x, filters, mode = _check(x, wavelet, mode)
    if not isinstance(level, int) or level < 1:
        raise ValueError(f'level must be an integer of at least 1, not {level!r}')
    wanted = set(range(1, level + 1) if detail_levels is None else detail_levels)
    if not wanted <= set(range(1, level + 1)):
        raise ValueError(f'detail_levels {sorted(wanted)} must lie within 1 to level = {level}')

    coefficients = []
    for current in range(1, level + 1):
        keep = current in wanted
        if _has_butterfly(filters, x):
            subbands = _haar_level(x, details=keep)
        else:
            subbands = _filter_level(x, filters, mode)
        x = subbands.approximation
        if not keep:
            approximation = x if current == level else None
            subbands = Subbands(approximation, None, None, None)
        coefficients.append(subbands)
    return coefficients


@_without_autocast
def waverec2(coefficients: Sequence[Subbands], wavelet: str = 'haar',
             mode: str = 'zero') -> Tensor:
    """Inverts :func:`wavedec2`.

    Args:
        coefficients: Subbands, finest first. Only the last one's approximation is read.
        wavelet: As in :func:`dwt2`.
        mode: As in :func:`dwt2`.

    Returns:
        Images (B, C, H, W); as in ``pywt.waverec2``, one longer along an axis that was odd.

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: There are no coefficients, a needed subband is None, or the sizes of two
            levels do not belong together.
    """
    x = coefficients[-1].approximation
    for position in reversed(range(len(coefficients))):
        details = coefficients[position][1:]
        if any(detail is None for detail in details):
            raise ValueError(f'waverec2 needs the detail subbands of every level, but some of '
                             f'level {position + 1} are None')
        rows, columns = details[0].shape[-2:]
        if not (0 <= x.shape[-2] - rows <= 1 and 0 <= x.shape[-1] - columns <= 1):
            raise ValueError(f'the approximation {tuple(x.shape[-2:])} does not fit the details '
                             f'{(rows, columns)} of level {position + 1}')
        # An odd size grew by one on the way down and up: cut what was never there.
        x = idwt2(Subbands(x[..., :rows, :columns], *details), wavelet, mode)
    return x


class _Filters(NamedTuple):
    """Analysis and synthesis filters, (2, F) each: low-pass, high-pass."""
    name: str
    analysis: Tensor
    synthesis: Tensor
    length: int


@lru_cache(maxsize=None)
@torch.compiler.assume_constant_result
def _filters(wavelet: str) -> _Filters:
    if wavelet not in pywt.wavelist(kind='discrete'):
        families = ', '.join(pywt.families())
        raise ValueError(f'unknown wavelet {wavelet!r}: choose a discrete wavelet of PyWavelets '
                         f"such as 'haar', 'db4' or 'bior2.2' (families: {families}; all names: "
                         f"pywt.wavelist(kind='discrete'))")
    dec_lo, dec_hi, rec_lo, rec_hi = pywt.Wavelet(wavelet).filter_bank
    return _Filters(wavelet, torch.tensor([dec_lo, dec_hi], dtype=torch.float64),
                    torch.tensor([rec_lo, rec_hi], dtype=torch.float64), len(dec_lo))


def _check(x: Tensor, wavelet: str, mode: str) -> Tuple[Tensor, _Filters, str]:
    if x.dim() != 4:
        raise ValueError(f'images must be (B, C, H, W), not of shape {tuple(x.shape)}')
    if mode not in pywt.Modes.modes:
        raise ValueError(f'unknown mode {mode!r}: choose one of {", ".join(pywt.Modes.modes)}')
    if x.dtype != torch.float64:
        x = x.float()
    return x, _filters(wavelet), mode


def _has_butterfly(filters: _Filters, x: Tensor) -> bool:
    even = x.shape[-2] % 2 == 0 and x.shape[-1] % 2 == 0
    return even and filters.name in ('haar', 'db1')


def _haar_level(x: Tensor, details: bool) -> Subbands:
    """Haar of 2x2 blocks [[a, b], [c, d]]: approximation (a + b + c + d) / 2, and so on.

    Rows first: their sums read and write whole rows, which the processor does at full speed.
    """
    top, bottom = x[..., 0::2, :], x[..., 1::2, :]
    low = (top + bottom).mul_(0.5)
    if not details:
        return Subbands(low[..., 0::2] + low[..., 1::2], None, None, None)
    high = (top - bottom).mul_(0.5)
    return Subbands(low[..., 0::2] + low[..., 1::2], high[..., 0::2] + high[..., 1::2],
                    low[..., 0::2] - low[..., 1::2], high[..., 0::2] - high[..., 1::2])


def _filter_level(x: Tensor, filters: _Filters, mode: str) -> Subbands:
    low, high = _analysis(x.double(), filters, mode, dim=-1)
    approximation, horizontal = _analysis(low, filters, mode, dim=-2)
    vertical, diagonal = _analysis(high, filters, mode, dim=-2)
    return Subbands(*(band.to(x.dtype) for band in (approximation, horizontal, vertical, diagonal)))


def _analysis(x: Tensor, filters: _Filters, mode: str, dim: int) -> Tuple[Tensor, Tensor]:
    """Extends, filters and halves float64 data along one axis: low- and high-pass."""
    x = x.movedim(dim, -1)
    shape = x.shape
    x = _extend(x.reshape(-1, shape[-1]), filters.length, mode)
    # conv1d correlates: with the filter reversed it is the convolution of the transform.
    kernel = filters.analysis.flip(1).to(x)
    y = F.conv1d(x.unsqueeze(1), kernel.unsqueeze(1), stride=2)  # (rows, 2, out)
    low, high = y.reshape(*shape[:-1], 2, -1).unbind(-2)
    return low.movedim(-1, dim), high.movedim(-1, dim)


@lru_cache(maxsize=256)
@torch.compiler.assume_constant_result
def _borders(size: int, left: int, right: int, mode: str) -> Tuple[Tensor, Tensor]:
    """The extension of a signal as two matrices, (size, left) and (size, right).

    Every extension is linear in the signal, so PyWavelets itself, applied to the unit vectors,
    gives the matrices for every mode, also where the signal is shorter than the filter.
    """
    # One vector at a time and one value more on each side than asked for: pywt.pad's 'smooth'
    # fails on several axes and on a width of 0. Of one value pywt.dwt2 makes a constant line.
    if mode == 'smooth' and size == 1:
        mode = 'constant'
    widths = (left + 1, right + 1)
    extended = np.stack([pywt.pad(unit, widths, mode) for unit in np.eye(size)])[:, 1:-1]
    return (torch.from_numpy(extended[:, :left].copy()),
            torch.from_numpy(extended[:, left + size:].copy()))


def _extend(x: Tensor, length: int, mode: str) -> Tensor:
    """(rows, size) -> (rows, left + size + right), as one level with this filter length needs."""
    size = x.shape[-1]
    if size == 1 and mode in ('reflect', 'antireflect'):
        raise ValueError(f'mode {mode!r} needs at least 2 values along each axis: one alone has '
                         f'nothing to reflect')
    if mode == 'periodization':
        # An odd signal repeats its last value, then the signal goes round.
        out = (size + 1) // 2
        left = length // 2 - 1
    else:
        out = (size + length - 1) // 2
        left = length - 2
    right = max(2 * (out - 1) + length - left - size, 0)
    left_border, right_border = _borders(size, left, right, mode)
    return torch.cat([x @ left_border.to(x), x, x @ right_border.to(x)], dim=-1)


def _synthesis(low: Tensor, high: Tensor, filters: _Filters, mode: str, dim: int) -> Tensor:
    """Doubles and filters along one axis and adds the two halves: inverts :func:`_analysis`."""
    y = torch.stack([low, high], dim=-1).double()
    y = y.movedim(dim - 1, -1)  # the filtered axis last; the pair stands right before it
    shape, length = y.shape, filters.length
    kernel = filters.synthesis.to(y).unsqueeze(1)
    x = F.conv_transpose1d(y.reshape(-1, 2, shape[-1]), kernel, stride=2).squeeze(1)
    if mode == 'periodization':
        # What runs over the end of the period comes in again at its start.
        period = 2 * shape[-1]
        x = F.pad(x, (0, -x.shape[-1] % period)).unflatten(-1, (-1, period)).sum(-2)
        x = x.roll(1 - length // 2, dims=-1)
    else:
        x = x[..., length - 2:x.shape[-1] - (length - 2)]
    return x.reshape(*shape[:-2], -1).movedim(-1, dim)
