"""Growing resolution with four fifths of the patches masked, half of the masked cells decoded."""
_base_ = ['growing_mask_08.py']
model = dict(decode_ratio=0.5)
