"""Three generations of details and hue by the energy of the mask unit."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='unit', approximation_norm='hue', approximation='all', generations=3, window=8))
