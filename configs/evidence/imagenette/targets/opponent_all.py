"""Luma and chroma by the energy of the mask unit, each apart; approximations on every level;
the noise of flat regions kept small."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='unit', approximation_norm='colour', approximation='all', window=8,
    colours='opponent', eps=2.5e-3))
