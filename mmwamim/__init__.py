"""mmwamim: wavelet-driven masked image modeling for OpenMMLab."""
from typing import TYPE_CHECKING

from .multimodal import leave_out_multimodal
from .version import __version__

if TYPE_CHECKING:
    from .encoder import Encoder, load_encoder

__all__ = ['Encoder', '__version__', 'load_encoder']
# What is imported with its first use: torch takes seconds.
_LATER = dict(load_encoder='encoder', Encoder='encoder')

leave_out_multimodal()


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module
    return getattr(import_module(f'.{_LATER[name]}', __name__), name)


def __dir__() -> list:
    return sorted({*globals(), *_LATER})
