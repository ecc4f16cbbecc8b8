"""Levels at 1/2, 1, 2 and 4 patches."""
_base_ = ['../partial.py']
model = dict(target_generator=dict(levels=(2, 3, 4, 5)))
