"""As scattering, brightness left to the details: all by the energy of the mask unit."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='unit', approximation_norm='hue', approximation='all', window=8, generations=4,
    finer='energy', compand=0.2))
