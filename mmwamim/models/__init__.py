from .decoders import LevelDecoder, MultiLevelDecoder
from .encoders import MaskedViT, SparseSwin
from .heads import MultiLevelMIMHead
from .necks import SimpleFeaturePyramid
from .targets import (
    FourierTargetGenerator,
    FrequencyPassTargetGenerator,
    HOGTargetGenerator,
    PixelTargetGenerator,
    TargetGenerator,
    WaveletTargetGenerator,
)
from .wamim import WaMIM

__all__ = [
    'FourierTargetGenerator', 'FrequencyPassTargetGenerator', 'HOGTargetGenerator',
    'LevelDecoder', 'MaskedViT', 'MultiLevelDecoder', 'MultiLevelMIMHead',
    'PixelTargetGenerator', 'SimpleFeaturePyramid', 'SparseSwin', 'TargetGenerator', 'WaMIM',
    'WaveletTargetGenerator'
]
