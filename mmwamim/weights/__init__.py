"""Encoders in and out, under other libraries' names."""
from .init import PretrainedFrom

__all__ = ['PretrainedFrom']
