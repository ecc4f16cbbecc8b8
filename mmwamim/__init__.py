"""mmwamim: wavelet-driven masked image modeling for OpenMMLab."""
from typing import TYPE_CHECKING

from .openmmlab.detectors_later import leave_detectors_for_later
from .openmmlab.hub import join_model_hub
from .openmmlab.multimodal import leave_out_multimodal
from .version import __version__

if TYPE_CHECKING:
    from .commands.corruptions import corruptions
    from .commands.embed import embed
    from .commands.export import export
    from .commands.finetune import finetune
    from .commands.predictions import predictions
    from .commands.pretrain import pretrain
    from .commands.probe import probe
    from .commands.quickstart import quickstart
    from .commands.resize import resize
    from .commands.robustness import robustness
    from .commands.statistics import statistics
    from .commands.sweep import sweep
    from .encoder import Encoder, load_encoder

__all__ = ['Encoder', '__version__', 'corruptions', 'embed', 'export', 'finetune', 'load_encoder',
           'predictions', 'pretrain', 'probe', 'quickstart', 'resize', 'robustness', 'statistics',
           'sweep']
# What is imported with its first use: torch takes seconds.
_COMMANDS = ('corruptions', 'embed', 'export', 'finetune', 'predictions', 'pretrain', 'probe',
             'quickstart', 'resize', 'robustness', 'statistics', 'sweep')
_LATER = dict(Encoder='encoder', load_encoder='encoder',
              **{name: f'commands.{name}' for name in _COMMANDS})

leave_detectors_for_later()
leave_out_multimodal()
join_model_hub()


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module
    return getattr(import_module(f'.{_LATER[name]}', __name__), name)


def __dir__() -> list:
    return sorted({*globals(), *_LATER})
