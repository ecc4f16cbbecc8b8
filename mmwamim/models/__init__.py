from .decoders import LevelDecoder, MultiLevelDecoder
from .encoders import MaskedViT, SparseSwin
from .heads import MultiLevelMIMHead
from .necks import SimpleFeaturePyramid
from .targets import TargetGenerator, WaveletTargetGenerator
from .wamim import WaMIM

__all__ = [
    'LevelDecoder', 'MaskedViT', 'MultiLevelDecoder', 'MultiLevelMIMHead', 'SimpleFeaturePyramid',
    'SparseSwin', 'TargetGenerator', 'WaMIM', 'WaveletTargetGenerator'
]
