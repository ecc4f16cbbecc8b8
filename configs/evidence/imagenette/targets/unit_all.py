"""As unit, with an approximation on every level."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='unit', approximation_norm='colour', approximation='all', window=8))
