"""Details and hue by their energy in the cell; brightness taken away."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='token', approximation_norm='hue', approximation='all'))
