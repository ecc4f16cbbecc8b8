from .base import TargetGenerator
from .fourier import FourierTargetGenerator, FrequencyPassTargetGenerator
from .hog import HOGTargetGenerator
from .pixel import PixelTargetGenerator
from .wavelet import WaveletTargetGenerator

__all__ = [
    'FourierTargetGenerator', 'FrequencyPassTargetGenerator', 'HOGTargetGenerator',
    'PixelTargetGenerator', 'TargetGenerator', 'WaveletTargetGenerator'
]
