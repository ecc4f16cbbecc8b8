"""All levels weigh the same."""
_base_ = ['../growing_mask_08.py']
model = dict(head=dict(loss_weights=(1., 1., 1., 1.)))
