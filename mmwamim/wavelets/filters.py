"""Filter banks and the names of wavelets and modes, as PyWavelets has them."""
from functools import lru_cache
from typing import NamedTuple, Tuple

import pywt
import torch

MODES = tuple(pywt.Modes.modes)
Pair = Tuple[Tuple[float, ...], Tuple[float, ...]]


class Filters(NamedTuple):
    """Low- and high-pass taps of one wavelet, as Python numbers: nothing of them has to be copied
    to a device, and compilers see constants.

    ``analysis`` and ``synthesis`` are PyWavelets' ``(dec_lo, dec_hi)`` and ``(rec_lo, rec_hi)``,
    all of the even number ``length`` of taps.
    """
    analysis: Pair
    synthesis: Pair
    length: int


@torch.compiler.assume_constant_result
def filters(wavelet: str) -> Filters:
    """The filter bank of a discrete wavelet.

    Args:
        wavelet: A name such as 'haar', 'db4' or 'bior2.2'.

    Raises:
        ValueError: PyWavelets has no discrete wavelet of this name.

    Examples:
        >>> filters('haar').analysis[0]
        (0.7071067811865476, 0.7071067811865476)
    """
    return _filters(wavelet)


@lru_cache(maxsize=None)
def _filters(wavelet: str) -> Filters:
    if wavelet not in pywt.wavelist(kind='discrete'):
        families = ', '.join(pywt.families())
        raise ValueError(f'unknown wavelet {wavelet!r}: choose a discrete wavelet of PyWavelets '
                         f"such as 'haar', 'db4' or 'bior2.2' (families: {families}; all names: "
                         f"pywt.wavelist(kind='discrete'))")
    dec_lo, dec_hi, rec_lo, rec_hi = map(tuple, pywt.Wavelet(wavelet).filter_bank)
    return Filters((dec_lo, dec_hi), (rec_lo, rec_hi), len(dec_lo))


def check_mode(mode: str) -> None:
    """Raises ValueError unless PyWavelets knows ``mode``."""
    if mode not in MODES:
        raise ValueError(f'unknown mode {mode!r}: choose one of {", ".join(MODES)}')
