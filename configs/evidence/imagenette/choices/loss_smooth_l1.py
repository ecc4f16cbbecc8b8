"""Errors that are quadratic below 1 and linear above."""
_base_ = ['../growing_mask_08.py']
model = dict(head=dict(distance='smooth_l1'))
