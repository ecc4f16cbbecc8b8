"""Filter banks and the names of wavelets and modes, as PyWavelets has them."""
from functools import lru_cache
from typing import NamedTuple, Tuple, Union

import pywt
import torch

MODES = tuple(pywt.Modes.modes)
MODE_NUMBERS = {getattr(pywt.Modes, name): name for name in MODES}
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


Wavelet = Union[str, pywt.Wavelet]
Key = Union[str, Filters]  # what a wavelet is called within: it is hashed, and compared by value


def key(wavelet: Wavelet) -> Key:
    """The name of one of PyWavelets' wavelets as it is spelled there, and the filters of one's
    own.

    Raises:
        TypeError: ``wavelet`` is neither a name nor a ``pywt.Wavelet``.
        ValueError: PyWavelets has no discrete wavelet of this name.
    """
    if isinstance(wavelet, pywt.Wavelet):
        return _own_key(wavelet)
    if not isinstance(wavelet, str):
        if isinstance(wavelet, pywt.ContinuousWavelet):
            filters(wavelet.name)  # raises
        raise TypeError('wavelet must be the name of a discrete wavelet or a pywt.Wavelet, not '
                        f'{wavelet!r}')
    filters(wavelet.lower())  # raises
    return wavelet.lower()


@torch.compiler.assume_constant_result
def filters(wavelet: Key) -> Filters:
    """The filter bank of a discrete wavelet.

    Args:
        wavelet: A name such as 'haar', 'db4' or 'bior2.2'; filters are returned as they are.

    Raises:
        ValueError: PyWavelets has no discrete wavelet of this name.

    Examples:
        >>> filters('haar').analysis[0]
        (0.7071067811865476, 0.7071067811865476)
    """
    return wavelet if isinstance(wavelet, Filters) else _filters(wavelet)


@lru_cache(maxsize=None)
def _filters(name: str) -> Filters:
    if name in pywt.wavelist(kind='continuous'):
        raise ValueError(f'unknown wavelet {name!r} among the discrete ones: it is continuous and '
                         "has no filters; choose one such as 'haar', 'db4' or 'bior2.2'")
    known = set(pywt.wavelist(kind='discrete'))
    if name not in known:
        families = ', '.join(family for family in pywt.families()
                             if known & set(pywt.wavelist(family)))
        raise ValueError(f'unknown wavelet {name!r}: choose a discrete wavelet of PyWavelets '
                         f"such as 'haar', 'db4' or 'bior2.2' (families: {families}; all names: "
                         f"pywt.wavelist(kind='discrete'))")
    return _bank(pywt.Wavelet(name))


def _own_key(wavelet: pywt.Wavelet) -> Key:
    bank = _bank(wavelet)
    known = wavelet.name in pywt.wavelist(kind='discrete')
    return wavelet.name if known and bank == _filters(wavelet.name) else bank


def _bank(wavelet: pywt.Wavelet) -> Filters:
    dec_lo, dec_hi, rec_lo, rec_hi = map(tuple, wavelet.filter_bank)
    return Filters((dec_lo, dec_hi), (rec_lo, rec_hi), len(dec_lo))


def as_pywt(wavelet: Key) -> Wavelet:
    """What PyWavelets takes for it."""
    if isinstance(wavelet, str):
        return wavelet
    return pywt.Wavelet('own', filter_bank=[*wavelet.analysis, *wavelet.synthesis])


def mode_name(mode: Union[str, int]) -> str:
    """PyWavelets' name of a mode; ``pywt.Modes.symmetric`` and the like are numbers there.

    Raises:
        ValueError: PyWavelets does not know ``mode``.
    """
    if isinstance(mode, int) and not isinstance(mode, bool):
        mode = MODE_NUMBERS.get(mode, mode)
    if mode not in MODES:
        raise ValueError(f'unknown mode {mode!r}: choose one of {", ".join(MODES)}')
    return mode
