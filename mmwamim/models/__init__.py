from .baselines import IBOT, MFM, FrequencyHead, SelfDistillationHead
from .decoders import LevelDecoder, MultiLevelDecoder
from .encoders import MaskedViT, SparseSwin
from .heads import MultiLevelMIMHead
from .necks import SimpleFeaturePyramid
from .preprocessor import ImagePreprocessor
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
    'FourierTargetGenerator', 'FrequencyHead', 'FrequencyPassTargetGenerator',
    'HOGTargetGenerator', 'IBOT', 'ImagePreprocessor', 'LevelDecoder', 'MFM', 'MaskedViT',
    'MultiLevelDecoder', 'MultiLevelMIMHead', 'PixelTargetGenerator', 'SelfDistillationHead',
    'SimpleFeaturePyramid', 'SparseSwin', 'TargetGenerator', 'WaMIM', 'WaveletTargetGenerator'
]
