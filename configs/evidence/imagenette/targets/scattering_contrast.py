"""As scattering, in the images' units instead of by constants of the data."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='contrast', compand=0.05, approximation='all', approximation_norm='colour', generations=4,
    finer='energy'))
