from .swin import SparseSwin
from .vit import MaskedViT

__all__ = ['MaskedViT', 'SparseSwin']
