"""The discrete wavelet transform along the last 1, 2, 3, ... axes: signals, images, volumes."""
from itertools import product
from typing import Any, Dict, List, Optional, Sequence

from torch import Tensor

from .axis import Step, analyse, synthesise
from .dwt import checked, count_levels, cut
from .filters import Wavelet
from .numbers import check_bands, check_images, computed, whole

Bands = Dict[str, Tensor]


def dwtn(x: Tensor, wavelet: Wavelet = 'haar', mode: str = 'zero', ndim: int = 3,
         double: bool = False) -> Bands:
    """One level along each of the last ``ndim`` axes.

    Args:
        x: (..., n_1, ..., n_ndim), any sizes, any real number type.
        wavelet: As in :func:`mmwamim.wavelets.dwt2`.
        mode: See ``wavelet``.
        double: See ``wavelet``.
        ndim: How many axes: 1 for signals, 3 for volumes and videos.

    Returns:
        A tensor for each of the 2^ndim words of 'a' (low-pass) and 'd' (high-pass), a letter for
        each axis, as ``pywt.dwtn`` names them.

    Raises:
        TypeError, ValueError: As :func:`mmwamim.wavelets.dwt2`.

    Examples:
        >>> dwtn(torch.tensor([1., 3., 5., 7.]), ndim=1)['a']
        tensor([2.8284, 8.4853])
        >>> sorted(dwtn(torch.rand(2, 8, 16, 16)))
        ['aaa', 'aad', 'ada', 'add', 'daa', 'dad', 'dda', 'ddd']
    """
    return computed(_dwtn, x, wavelet, mode, ndim, double=double)


def idwtn(bands: Bands, wavelet: Wavelet = 'haar', mode: str = 'zero',
          double: bool = False) -> Tensor:
    """Inverts :func:`dwtn`.

    Args:
        bands: As :func:`dwtn` returns them.
        wavelet: As there.
        mode: See ``wavelet``.
        double: See ``wavelet``.

    Returns:
        The signal, one longer along an axis that was odd.

    Raises:
        TypeError, ValueError: As :func:`mmwamim.wavelets.idwt2`.

    Examples:
        >>> x = torch.tensor([1., 3., 5., 5.])
        >>> torch.allclose(idwtn(dwtn(x, 'db2', ndim=1), 'db2'), x)
        True
    """
    return computed(_idwtn, bands, wavelet, mode, double=double)


def wavedecn(x: Tensor, wavelet: Wavelet = 'haar', level: Optional[int] = 1, mode: str = 'zero',
             ndim: int = 3, double: bool = False) -> List[Bands]:
    """Several levels along each of the last ``ndim`` axes.

    Args:
        x: As in :func:`dwtn`.
        wavelet: See ``x``.
        mode: See ``x``.
        ndim: See ``x``.
        double: See ``x``.
        level: Number of levels, at least 1. None: as in :func:`mmwamim.wavelets.wavedec2`.

    Returns:
        The bands of every level, finest first, each with its approximation 'a...a'; that of the
        last is the first entry of ``pywt.wavedecn``.

    Raises:
        TypeError, ValueError: As :func:`mmwamim.wavelets.wavedec2`.

    Examples:
        >>> [tuple(bands['d'].shape) for bands in wavedecn(torch.rand(2, 100), level=3, ndim=1)]
        [(2, 50), (2, 25), (2, 13)]
    """
    return computed(_wavedecn, x, wavelet, level, mode, ndim, double=double)


def waverecn(coefficients: Sequence[Bands], wavelet: Wavelet = 'haar', mode: str = 'zero',
             double: bool = False) -> Tensor:
    """Inverts :func:`wavedecn`.

    Args:
        coefficients: Bands of every level, finest first. Only the last one's approximation is
            read.
        wavelet: As in :func:`wavedecn`.
        mode: See ``wavelet``.
        double: See ``wavelet``.

    Returns:
        The signal, one longer along an axis that was odd.

    Raises:
        TypeError, ValueError: As :func:`mmwamim.wavelets.waverec2`.

    Examples:
        >>> x = torch.rand(5, 12, 12, 12)
        >>> torch.allclose(waverecn(wavedecn(x, level=2)), x, atol=1e-5)
        True
    """
    return computed(_waverecn, coefficients, wavelet, mode, double=double)


def _words(ndim: int) -> List[str]:
    return [''.join(letters) for letters in product('ad', repeat=ndim)]


def _dwtn(x: Tensor, wavelet: Wavelet, mode: str, ndim: int) -> Bands:
    ndim = whole(ndim, 'ndim', 1)
    check_images(x, ndim)
    return dict(zip(_words(ndim), analyse(x, checked(wavelet, mode), ndim)))


def _idwtn(bands: Bands, wavelet: Wavelet, mode: str) -> Tensor:
    ndim = _axes_of(bands, 'idwtn')
    return _one_level(bands, ndim, checked(wavelet, mode), 'idwtn')


def _wavedecn(x: Tensor, wavelet: Wavelet, level: Optional[int], mode: str, ndim: int
              ) -> List[Bands]:
    ndim, coefficients = whole(ndim, 'ndim', 1), []
    check_images(x, ndim)
    for _ in range(count_levels(level, x.shape[-ndim:], checked(wavelet, mode))):
        coefficients.append(_dwtn(x, wavelet, mode, ndim))
        x = coefficients[-1]['a' * ndim]
    return coefficients


def _waverecn(coefficients: Sequence[Bands], wavelet: Wavelet, mode: str) -> Tensor:
    if not isinstance(coefficients, (list, tuple)):
        raise TypeError('waverecn: a list with the bands of every level, the finest first, is '
                        f'needed, not a {type(coefficients).__name__}')
    step = checked(wavelet, mode)
    ndim = _axes_of(coefficients[-1], f'waverecn, level {len(coefficients)}')
    low, high = 'a' * ndim, 'd' * ndim
    x = coefficients[-1].get(low)
    for number, bands in reversed(list(enumerate(coefficients, 1))):
        where = f'waverecn, level {number}'
        _axes_of(bands, where)
        if x is not None and bands.get(high) is not None:
            x = cut(x, bands[high], ndim, number)
        x = _one_level({**bands, low: x}, ndim, step, where)
    return x


def _axes_of(bands: Any, where: str) -> int:
    """Along how many axes these bands were made."""
    if not isinstance(bands, dict) or not all(isinstance(word, str) for word in bands):
        raise TypeError(f"{where}: a dict of bands named as 'aa', 'ad', 'da', 'dd' is needed, not "
                        f'a {type(bands).__name__}')
    if not any(bands):
        raise ValueError(f'{where}: there are no bands')
    return len(next(iter(bands)))


def _one_level(bands: Bands, ndim: int, step: Step, where: str) -> Tensor:
    """Inverts one level whose bands have names of ``ndim`` letters."""
    for band in bands.values():
        if band is not None:
            check_images(band, ndim)  # before 2^ndim words are made of a long one
    words = _words(ndim)
    if set(bands) - set(words):
        raise ValueError(f'{where} needs the bands {", ".join(words)}, but has '
                         f'{", ".join(sorted(bands))}')
    check_bands({word: bands.get(word) for word in words}, ndim, where)
    return synthesise([bands[word] for word in words], step, ndim)
