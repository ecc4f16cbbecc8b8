from .ibot import IBOT, SelfDistillationHead
from .mfm import MFM, FrequencyHead

__all__ = ['FrequencyHead', 'IBOT', 'MFM', 'SelfDistillationHead']
