"""Errors that are quadratic below 1 and linear above."""
_base_ = ['../growing_partial.py']
model = dict(head=dict(distance='smooth_l1'))
