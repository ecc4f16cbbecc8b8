"""Fine levels weigh more."""
_base_ = ['../growing_mask_08.py']
model = dict(head=dict(loss_weights=(1.2, 1.1, 0.9, 0.8)))
