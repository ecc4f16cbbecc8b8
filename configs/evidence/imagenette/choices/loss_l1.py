"""Absolute errors."""
_base_ = ['../fast.py']
model = dict(head=dict(distance='l1'))
