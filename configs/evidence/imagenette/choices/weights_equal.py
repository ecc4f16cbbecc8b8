"""All levels weigh the same."""
_base_ = ['../growing_partial.py']
model = dict(head=dict(loss_weights=(1., 1., 1., 1.)))
