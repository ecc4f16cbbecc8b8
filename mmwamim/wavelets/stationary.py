r"""The 2-D stationary wavelet transform: nothing is halved, so it moves with the image.

Instead of keeping every second value, the taps of level k are set :math:`s = 2^{k-1}` apart
("à trous"), on an image that goes round at its borders:

.. math:: y_k[i] = \sum_j h_k[j] \, x[(i + s F / 2 - s j) \bmod n] .
"""
from typing import List, Sequence

from torch import Tensor

from .axis import Step, analyse, synthesise
from .dwt import Subbands, all_levels
from .filters import Wavelet, key
from .numbers import check_bands, check_images, computed, whole


def swt2(x: Tensor, wavelet: Wavelet = 'haar', level: int = 1, start_level: int = 0,
         norm: bool = False, trim_approx: bool = False, double: bool = False) -> List[Subbands]:
    """Multi-level 2-D stationary (undecimated) wavelet transform.

    Args:
        x: Images (..., H, W), each size a multiple of 2^(start_level + level).
        wavelet: As in :func:`mmwamim.wavelets.dwt2`.
        level: Number of levels, at least 1.
        start_level: How many levels are skipped before the first.
        norm: Divide the filters by the square root of two; with an orthogonal wavelet details and
            last approximation then have together the energy of the image.
        trim_approx: Leave out the approximations of all levels but the last, as in ``wavedec2``.
        double: As in :func:`mmwamim.wavelets.dwt2`.

    Returns:
        Subbands (..., H, W) of every level, finest first: the values of ``pywt.swt2``, which
        begins with the coarsest.

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: ``wavelet``, ``level`` or ``start_level`` is not usable, or a size is no such
            multiple.

    Source: Nason & Silverman, "The stationary wavelet transform", 1995.

    Examples:
        >>> swt2(torch.tensor([[1., 2.], [3., 5.]]), norm=True)[0].diagonal
        tensor([[ 0.2500, -0.2500],
                [-0.2500,  0.2500]])
    """
    return computed(_swt2, x, wavelet, level, start_level, norm, trim_approx, double=double)


def iswt2(coefficients: Sequence[Subbands], wavelet: Wavelet = 'haar', start_level: int = 0,
          norm: bool = False, double: bool = False) -> Tensor:
    """Inverts :func:`swt2`: of the images that have such subbands up to a shift, the mean.

    Args:
        coefficients: Subbands, finest first. Only the last one's approximation is read.
        wavelet: As in :func:`swt2`.
        start_level: See ``wavelet``.
        norm: See ``wavelet``.
        double: See ``wavelet``.

    Returns:
        Images (..., H, W).

    Raises:
        TypeError: The input is no torch tensor, or a complex one.
        ValueError: There are no coefficients, or a needed subband is None.

    Examples:
        >>> x = torch.rand(3, 8, 16)
        >>> bool((iswt2(swt2(x, 'db2', 3), 'db2') - x).abs().max() < 1e-5)
        True
    """
    return computed(_iswt2, coefficients, wavelet, start_level, norm, double=double)


def _check_sizes(x: Tensor, levels: int) -> None:
    if any(size % 2**levels for size in x.shape[-2:]):
        raise ValueError(f'sizes must be multiples of 2^{levels} = {2**levels} for the stationary '
                         f'transform, not {tuple(x.shape[-2:])}: pad the images')


def _swt2(x: Tensor, wavelet: Wavelet, level: int, start_level: int, norm: bool, trim_approx: bool
          ) -> List[Subbands]:
    check_images(x, 2)
    name, level = key(wavelet), whole(level, 'level', 1)
    start_level = whole(start_level, 'start_level', 0)
    _check_sizes(x, start_level + level)
    coefficients = []
    for current in range(start_level, start_level + level):
        step = Step(name, dilation=2**current, scale=0.5**0.5 if norm else 1.)
        x, vertical, horizontal, diagonal = analyse(x, step, 2)
        trimmed = trim_approx and current < start_level + level - 1
        coefficients.append(Subbands(None if trimmed else x, horizontal, vertical, diagonal))
    return coefficients


def _iswt2(coefficients: Sequence[Subbands], wavelet: Wavelet, start_level: int, norm: bool
           ) -> Tensor:
    name, start_level = key(wavelet), whole(start_level, 'start_level', 0)
    levels = all_levels(coefficients, 'iswt2')
    x = levels[-1].approximation
    for number, subbands in reversed(list(enumerate(levels, 1))):
        subbands = subbands._replace(approximation=x)
        check_bands(subbands._asdict(), 2, f'iswt2, level {number}')
        _check_sizes(x, start_level + number)
        step = Step(name, dilation=2**(start_level + number - 1), scale=2**0.5 if norm else 1.)
        x = synthesise([x, subbands.vertical, subbands.horizontal, subbands.diagonal], step, 2)
    return x
