"""Fine levels weigh more."""
_base_ = ['../growing_partial.py']
model = dict(head=dict(loss_weights=(1.2, 1.1, 0.9, 0.8)))
