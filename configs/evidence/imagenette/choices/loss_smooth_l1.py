"""Errors that are quadratic below 1 and linear above."""
_base_ = ['../fast.py']
model = dict(head=dict(distance='smooth_l1'))
