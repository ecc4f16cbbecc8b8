"""No level carries its mean colour."""
_base_ = ['../growing_partial.py']
model = dict(target_generator=dict(approximation='none'))
