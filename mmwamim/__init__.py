"""mmwamim: wavelet-driven masked image modeling for OpenMMLab."""
from typing import TYPE_CHECKING

from .hub import join_model_hub
from .multimodal import leave_out_multimodal
from .version import __version__

if TYPE_CHECKING:
    from .commands.embed import embed
    from .commands.export import export
    from .commands.finetune import finetune
    from .commands.pretrain import pretrain
    from .commands.probe import probe
    from .encoder import Encoder, load_encoder

__all__ = ['Encoder', '__version__', 'embed', 'export', 'finetune', 'load_encoder', 'pretrain',
           'probe']
# What is imported with its first use: torch takes seconds.
_LATER = dict(Encoder='encoder', embed='commands.embed', export='commands.export',
              finetune='commands.finetune', load_encoder='encoder', pretrain='commands.pretrain',
              probe='commands.probe')

leave_out_multimodal()
join_model_hub()


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module
    return getattr(import_module(f'.{_LATER[name]}', __name__), name)


def __dir__() -> list:
    return sorted({*globals(), *_LATER})
