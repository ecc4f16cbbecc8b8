"""Coarse levels weigh much more."""
_base_ = ['../growing_mask_08.py']
model = dict(head=dict(loss_weights=(0.4, 0.8, 1.2, 1.6)))
