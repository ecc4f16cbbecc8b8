"""Partial decoding and growing resolution together."""
_base_ = ['growing.py']
model = dict(decode_ratio=0.25)
