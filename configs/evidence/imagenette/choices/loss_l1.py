"""Absolute errors."""
_base_ = ['../growing_partial.py']
model = dict(head=dict(distance='l1'))
