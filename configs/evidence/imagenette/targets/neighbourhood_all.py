"""Details by the energy of 8 px around; an approximation on every level, as mean colour."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='neighbourhood', approximation_norm='colour', approximation='all', window=8))
