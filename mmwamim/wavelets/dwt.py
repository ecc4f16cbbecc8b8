"""The 2-D discrete wavelet transform, of one level and of several, and its inverse."""
from numbers import Integral
from typing import Any, List, NamedTuple, Optional, Sequence

import torch
from torch import Tensor

from .axis import Step, analyse, synthesise
from .filters import Wavelet, filters, key, mode_name
from .numbers import check_bands, check_images, computed, whole


class Subbands(NamedTuple):
    """The four subbands of one level, each (..., h, w) or None where it was not asked for.

    ``approximation`` is low-pass along both axes; ``horizontal`` is high-pass along the rows'
    axis (H), ``vertical`` along the columns' axis (W), ``diagonal`` along both: PyWavelets'
    ``cA, (cH, cV, cD)``.
    """
    approximation: Optional[Tensor]
    horizontal: Optional[Tensor]
    vertical: Optional[Tensor]
    diagonal: Optional[Tensor]


def dwt2(x: Tensor, wavelet: Wavelet = 'haar', mode: str = 'zero',
         double: bool = False) -> Subbands:
    """One level of the 2-D discrete wavelet transform.

    Args:
        x: Images (..., H, W), any size, any real number type.
        wavelet: Name of a discrete wavelet of PyWavelets, such as 'haar', 'db4', 'bior2.2', or a
            ``pywt.Wavelet``, one's own as well.
        mode: PyWavelets' signal extension mode, such as 'zero', 'symmetric', 'periodization'.
        double: Compute in float64 what otherwise is computed in float32, and round once at the
            end. Float64 images always are.

    Returns:
        Subbands in the number type of ``x`` (float32 for integers), of floor((H + F - 1) / 2)
        rows for a filter of length F (ceil(H / 2) with 'periodization'), the same along W.

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: ``wavelet`` or ``mode`` is unknown, ``x`` has fewer than two dimensions, or an
            axis of one value is to be reflected (PyWavelets refuses that too).

    Examples:
        >>> dwt2(torch.ones(1, 1, 4, 4)).approximation[0, 0]
        tensor([[2., 2.],
                [2., 2.]])
    """
    return computed(_dwt2, x, wavelet, mode, double=double)


def idwt2(subbands: Subbands, wavelet: Wavelet = 'haar', mode: str = 'zero',
          double: bool = False) -> Tensor:
    """Inverts :func:`dwt2`.

    Args:
        subbands: Four tensors (..., h, w) of one shape.
        wavelet: As in :func:`dwt2`.
        mode: As in :func:`dwt2`; only 'periodization' changes the inverse.
        double: As in :func:`dwt2`.

    Returns:
        Images (..., 2h - F + 2, 2w - F + 2) for a filter of length F, or (..., 2h, 2w) with
        'periodization': the input of :func:`dwt2`, one row or column longer where that was odd.

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: ``wavelet`` or ``mode`` is unknown, a subband is missing or too
            short, or their shapes differ.

    Examples:
        >>> x = torch.tensor([[1., 2.], [3., 5.]])
        >>> idwt2(dwt2(x))
        tensor([[1., 2.],
                [3., 5.]])
    """
    return computed(_idwt2, subbands, wavelet, mode, double=double)


def wavedec2(x: Tensor,
             wavelet: Wavelet = 'haar',
             level: Optional[int] = 5,
             mode: str = 'zero',
             detail_levels: Optional[Sequence[int]] = None,
             double: bool = False) -> List[Subbands]:
    """Multi-level 2-D discrete wavelet transform.

    Args:
        x: Images (..., H, W).
        wavelet: As in :func:`dwt2`.
        level: Number of levels, at least 1. There is no upper limit, as in ``pywt.wavedec2``
            with its warning switched off. None: as many as ``pywt.dwt_max_level`` of the shorter
            side.
        mode: As in :func:`dwt2`.
        detail_levels: The levels (from 1, the finest) whose detail subbands are wanted; those of
            the others are None and never computed. Default: all.
        double: As in :func:`dwt2`.

    Returns:
        ``level`` Subbands, finest first. The last one's ``approximation`` is the cA of
        ``pywt.wavedec2``; every other level carries its own approximation as well, unless its
        details were not asked for.

    Raises:
        TypeError: The input is no torch tensor, or a complex one; ``detail_levels`` is a number.
        ValueError: ``wavelet``, ``mode`` or ``level`` is not usable.

    Examples:
        >>> coefficients = wavedec2(torch.rand(2, 3, 224, 224), 'haar', level=5)
        >>> [tuple(subbands.horizontal.shape[-2:]) for subbands in coefficients]
        [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7)]
    """
    return computed(_wavedec2, x, wavelet, level, mode, detail_levels, double=double)


def waverec2(coefficients: Sequence[Subbands], wavelet: Wavelet = 'haar', mode: str = 'zero',
             double: bool = False) -> Tensor:
    """Inverts :func:`wavedec2`.

    Args:
        coefficients: Subbands, finest first. Only the last one's approximation is read.
        wavelet: As in :func:`dwt2`.
        mode: As in :func:`dwt2`.
        double: As in :func:`dwt2`.

    Returns:
        Images (..., H, W); as in ``pywt.waverec2``, one longer along an axis that was odd.

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: There are no coefficients, a needed subband is None, or the shapes of two
            levels do not belong together.

    Examples:
        >>> x = torch.rand(3, 20, 28)
        >>> bool((waverec2(wavedec2(x, 'db2', 2), 'db2') - x).abs().max() < 1e-5)
        True
    """
    return computed(_waverec2, coefficients, wavelet, mode, double=double)


def checked(wavelet: Wavelet, mode: str) -> Step:
    """The step along an axis; raises for an unknown wavelet or mode."""
    return Step(key(wavelet), mode_name(mode))


def as_subbands(level: Any, where: str) -> Subbands:
    """The four subbands of one level, whatever sequence they come in.

    Raises:
        TypeError: ``level`` are not four tensors or None. A tensor is no sequence: a batch of four
            images would pass.
    """
    four = isinstance(level, (list, tuple)) and len(level) == 4
    if not four or any(isinstance(band, (list, tuple, dict)) for band in level):
        kind = type(level).__name__
        raise TypeError(f'{where}: Subbands(approximation, horizontal, vertical, diagonal) of a '
                        f'level are needed, the finest level first, not a {kind}'
                        + (f' of {len(level)}' if isinstance(level, (list, tuple)) else ''))
    return Subbands(*level)


def all_levels(coefficients: Any, name: str) -> List[Subbands]:
    """The subbands of every level; raises TypeError where there are other things."""
    if not isinstance(coefficients, (list, tuple)) or isinstance(coefficients, Subbands):
        raise TypeError(f'{name}: a list of Subbands, the finest level first, is needed, not a '
                        f'{type(coefficients).__name__}')
    return [as_subbands(level, f'{name}, level {number}')
            for number, level in enumerate(coefficients, 1)]


def analysis2(x: Tensor, step: Step, details: bool = True) -> Subbands:
    """One level of float32 or float64 images."""
    if _has_butterfly(step, x):
        return _haar_level(x, details)
    if not details:
        return Subbands(*analyse(x, step, 2, details=False), None, None, None)
    approximation, vertical, horizontal, diagonal = analyse(x, step, 2)
    return Subbands(approximation, horizontal, vertical, diagonal)


def synthesis2(subbands: Subbands, step: Step) -> Tensor:
    """Inverts :func:`analysis2`."""
    approximation, horizontal, vertical, diagonal = subbands
    if step.wavelet in ('haar', 'db1') and not step.dilation:
        return _haar_synthesis(subbands)
    return synthesise([approximation, vertical, horizontal, diagonal], step, 2)


def _dwt2(x: Tensor, wavelet: Wavelet, mode: str) -> Subbands:
    check_images(x, 2)
    return analysis2(x, checked(wavelet, mode))


def _idwt2(subbands: Subbands, wavelet: Wavelet, mode: str) -> Tensor:
    subbands = as_subbands(subbands, 'idwt2')
    check_bands(subbands._asdict(), 2, 'idwt2')
    return synthesis2(subbands, checked(wavelet, mode))


def count_levels(level: Optional[int], sizes: Sequence[int], step: Step) -> int:
    """The number of levels that ``level`` stands for; raises ValueError if there is none."""
    if level is not None:
        return whole(level, 'level', 1)
    taps = filters(step.wavelet).length - 1
    # ``pywt.dwt_max_level``: an approximation is not shorter than the filter but for one.
    deepest = (min(sizes) // taps).bit_length() - 1
    if deepest < 1:
        raise ValueError(f'level=None: the sizes {tuple(sizes)} are too small for a level whose '
                         f'filter has {taps + 1} taps: give the level')
    return deepest


def _wavedec2(x: Tensor, wavelet: Wavelet, level: Optional[int], mode: str,
              detail_levels: Optional[Sequence[int]]) -> List[Subbands]:
    check_images(x, 2)
    step = checked(wavelet, mode)
    level = count_levels(level, x.shape[-2:], step)
    if isinstance(detail_levels, Integral):
        raise TypeError(f'detail_levels must be a sequence of levels, such as ({detail_levels}, ), '
                        f'not {detail_levels}')
    wanted = range(1, level + 1) if detail_levels is None else detail_levels
    wanted = {whole(number, 'each of detail_levels', 1) for number in wanted}
    if not wanted <= set(range(1, level + 1)):
        raise ValueError(f'detail_levels {sorted(wanted)} must lie within 1 to level = {level}')
    coefficients = []
    for current in range(1, level + 1):
        keep = current in wanted
        subbands = analysis2(x, step, details=keep)
        x = subbands.approximation
        if not keep and current < level:
            subbands = Subbands(None, None, None, None)
        coefficients.append(subbands)
    return coefficients


def _waverec2(coefficients: Sequence[Subbands], wavelet: Wavelet, mode: str) -> Tensor:
    step = checked(wavelet, mode)
    levels = all_levels(coefficients, 'waverec2')
    x = levels[-1].approximation
    for number, subbands in reversed(list(enumerate(levels, 1))):
        if x is not None and subbands.horizontal is not None:
            x = cut(x, subbands.horizontal, 2, number)
        subbands = subbands._replace(approximation=x)
        check_bands(subbands._asdict(), 2, f'waverec2, level {number}')
        x = synthesis2(subbands, step)
    return x


def cut(approximation: Tensor, details: Tensor, ndim: int, level: int) -> Tensor:
    """An odd size grows by one on the way down and up: cuts what was never there.

    Raises:
        ValueError: The approximation does not belong to the details.
    """
    sizes = details.shape[-ndim:]
    surplus = [have - size for have, size in zip(approximation.shape[-ndim:], sizes)]
    if min(approximation.dim(), details.dim()) < ndim or not all(0 <= s <= 1 for s in surplus):
        raise ValueError(f'the approximation {tuple(approximation.shape)} does not fit the details '
                         f'{tuple(details.shape)} of level {level}')
    for dim, size in zip(range(-ndim, 0), sizes):
        approximation = approximation.narrow(dim, 0, size)
    return approximation


def _has_butterfly(step: Step, x: Tensor) -> bool:
    """Haar on even sizes needs no extension and no filter, whatever the mode."""
    even = x.shape[-2] % 2 == 0 and x.shape[-1] % 2 == 0
    return even and step.wavelet in ('haar', 'db1')


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


def _haar_synthesis(subbands: Subbands) -> Tensor:
    """The 2x2 blocks again."""
    approximation, horizontal, vertical, diagonal = subbands
    rows = ((approximation + horizontal, vertical + diagonal),
            (approximation - horizontal, vertical - diagonal))
    top, bottom = (torch.stack([even + odd, even - odd], -1).flatten(-2) for even, odd in rows)
    return torch.stack([top, bottom], -2).flatten(-3, -2).mul_(0.5)
