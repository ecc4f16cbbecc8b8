"""Absolute errors."""
_base_ = ['../growing_mask_08.py']
model = dict(head=dict(distance='l1'))
