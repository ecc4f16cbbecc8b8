"""MAE for as long as WaMIM takes for its 6 epochs on the same machine: 4 epochs."""
_base_ = ['mae.py']
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=1,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=3, eta_min=0., by_epoch=True, begin=1, end=4,
         convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=4)
