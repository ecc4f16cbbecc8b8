"""Partial decoding: each level decodes a quarter of its masked cells in a step, drawn anew each
time and for each image."""
_base_ = ['wamim.py']
model = dict(decode_ratio=0.25)
