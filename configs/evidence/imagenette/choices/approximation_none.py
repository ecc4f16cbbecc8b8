"""No level carries its mean colour."""
_base_ = ['../growing_mask_08.py']
model = dict(target_generator=dict(approximation='none'))
