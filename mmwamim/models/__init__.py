from .baselines import IBOT, MFM, FrequencyHead, SelfDistillationHead
from .decoders import LevelDecoder, MultiLevelDecoder
from .deep_decoders import CrossAttentionDecoder, MAEDecoder
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
    WaveletPacketTargetGenerator,
    WaveletTargetGenerator,
)
from .wamim import WaMIM

__all__ = [
    'CrossAttentionDecoder', 'FourierTargetGenerator', 'FrequencyHead',
    'FrequencyPassTargetGenerator', 'HOGTargetGenerator', 'IBOT', 'ImagePreprocessor',
    'LevelDecoder', 'MAEDecoder', 'MFM', 'MaskedViT',
    'MultiLevelDecoder', 'MultiLevelMIMHead', 'PixelTargetGenerator', 'SelfDistillationHead',
    'SimpleFeaturePyramid', 'SparseSwin', 'TargetGenerator', 'WaMIM',
    'WaveletPacketTargetGenerator', 'WaveletTargetGenerator'
]
