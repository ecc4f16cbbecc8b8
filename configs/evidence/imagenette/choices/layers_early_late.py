"""Features of layers 2, 4, 10 and 12."""
_base_ = ['../growing_mask_08.py']
model = dict(backbone=dict(out_indices=(1, 3, 9, 11)))
