"""Growing resolution with 85 % of the patches masked, everything decoded."""
_base_ = ['growing.py']
model = dict(mask_ratio=0.85)
