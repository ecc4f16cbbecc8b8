"""Partial decoding with 85 % of the patches masked, at full resolution in every epoch."""
_base_ = ['partial.py']
model = dict(mask_ratio=0.85)
