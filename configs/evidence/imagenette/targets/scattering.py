"""A cell's own details and mean colour, and of all finer scales the energy in the cell: each by its
constant, heavy tails bent."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='band', compand=0.2, approximation='all', generations=4, finer='energy'))
