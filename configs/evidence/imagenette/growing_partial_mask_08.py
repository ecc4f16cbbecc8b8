"""Growing resolution and partial decoding, with four fifths of the patches masked."""
_base_ = ['growing_partial.py']
model = dict(mask_ratio=0.8)
