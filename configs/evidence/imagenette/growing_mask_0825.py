"""Growing resolution with 82.5 % of the patches masked, everything decoded."""
_base_ = ['growing.py']
model = dict(mask_ratio=0.825)
