"""The discrete wavelet transform along the last 1, 2, 3, ... axes: signals, images, volumes."""
from itertools import product
from typing import Dict, List, Sequence

from torch import Tensor

from .axis import analyse, synthesise
from .dwt import check_level, checked
from .numbers import check_images, computed

Bands = Dict[str, Tensor]


def dwtn(x: Tensor, wavelet: str = 'haar', mode: str = 'zero', ndim: int = 3,
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


def idwtn(bands: Bands, wavelet: str = 'haar', mode: str = 'zero', double: bool = False) -> Tensor:
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


def wavedecn(x: Tensor, wavelet: str = 'haar', level: int = 1, mode: str = 'zero', ndim: int = 3,
             double: bool = False) -> List[Bands]:
    """Several levels along each of the last ``ndim`` axes.

    Args:
        x: As in :func:`dwtn`.
        wavelet: See ``x``.
        mode: See ``x``.
        ndim: See ``x``.
        double: See ``x``.
        level: Number of levels, at least 1.

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


def waverecn(coefficients: Sequence[Bands], wavelet: str = 'haar', mode: str = 'zero',
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


def _dwtn(x: Tensor, wavelet: str, mode: str, ndim: int) -> Bands:
    if not isinstance(ndim, int) or ndim < 1:
        raise ValueError(f'ndim must be an integer of at least 1, not {ndim!r}')
    check_images(x, ndim)
    return dict(zip(_words(ndim), analyse(x, checked(wavelet, mode), ndim)))


def _idwtn(bands: Bands, wavelet: str, mode: str) -> Tensor:
    words = _words(len(next(iter(bands))))
    missing = [word for word in words if bands.get(word) is None]
    if missing or len(bands) != len(words):
        raise ValueError(f'idwtn needs the bands {", ".join(words)}, but has '
                         f'{", ".join(sorted(set(bands) - set(missing)))}')
    return synthesise([bands[word] for word in words], checked(wavelet, mode), len(words[0]))


def _wavedecn(x: Tensor, wavelet: str, level: int, mode: str, ndim: int) -> List[Bands]:
    check_level(level)
    coefficients = []
    for _ in range(level):
        coefficients.append(_dwtn(x, wavelet, mode, ndim))
        x = coefficients[-1]['a' * ndim]
    return coefficients


def _waverecn(coefficients: Sequence[Bands], wavelet: str, mode: str) -> Tensor:
    ndim = len(next(iter(coefficients[-1])))
    low = 'a' * ndim
    x = coefficients[-1].get(low)
    for position in reversed(range(len(coefficients))):
        details = {word: band for word, band in coefficients[position].items() if word != low}
        sizes = next(iter(details.values())).shape[-ndim:]
        if x is None or not all(0 <= have - size <= 1
                                for have, size in zip(x.shape[-ndim:], sizes)):
            raise ValueError(f'the approximation {None if x is None else tuple(x.shape)} does not '
                             f'fit the details {tuple(sizes)} of level {position + 1}')
        # An odd size grew by one on the way down and up: cut what was never there.
        for dim, size in zip(range(-ndim, 0), sizes):
            x = x.narrow(dim, 0, size)
        x = _idwtn({low: x, **details}, wavelet, mode)
    return x
