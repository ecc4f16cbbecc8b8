"""No level carries its mean colour."""
_base_ = ['../fast.py']
model = dict(target_generator=dict(approximation='none'))
