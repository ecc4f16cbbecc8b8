from .base import TargetGenerator
from .fourier import FourierTargetGenerator, FrequencyPassTargetGenerator
from .hog import HOGTargetGenerator
from .packet import WaveletPacketTargetGenerator
from .pixel import PixelTargetGenerator
from .wavelet import WaveletTargetGenerator

__all__ = [
    'FourierTargetGenerator', 'FrequencyPassTargetGenerator', 'HOGTargetGenerator',
    'PixelTargetGenerator', 'TargetGenerator', 'WaveletPacketTargetGenerator',
    'WaveletTargetGenerator'
]
