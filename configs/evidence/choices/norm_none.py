"""Coefficients as they are."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(norm='none'))
