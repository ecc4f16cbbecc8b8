"""Growing resolution with four fifths of the patches masked, everything decoded."""
_base_ = ['growing.py']
model = dict(mask_ratio=0.8)
