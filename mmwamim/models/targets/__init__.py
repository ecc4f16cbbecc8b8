from .base import TargetGenerator
from .wavelet import WaveletTargetGenerator

__all__ = ['TargetGenerator', 'WaveletTargetGenerator']
