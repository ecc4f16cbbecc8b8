"""Details by the energy of the mask unit; the coarsest approximation as mean colour."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='unit', approximation_norm='colour', window=8))
