"""mmwamim: wavelet-driven masked image modeling for OpenMMLab."""
from .multimodal import leave_out_multimodal
from .version import __version__

__all__ = ['__version__']

leave_out_multimodal()
