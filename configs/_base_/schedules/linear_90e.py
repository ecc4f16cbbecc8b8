# Linear probing as in MAE: LARS at batch 16384, base lr 0.1 (lr = base lr * batch / 256), no
# weight decay, 90 epochs with 10 of warm-up.
optim_wrapper = dict(
    type='mmwamim.GuardedOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='mmpretrain.LARS', lr=0.1 * 16384 / 256, momentum=0.9, weight_decay=0.),
    # As in MAE: the rate of what has one dimension is not scaled.
    paramwise_cfg=dict(custom_keys=dict(bias=dict(lars_exclude=True))))
auto_scale_lr = dict(enable=True, base_batch_size=16384)

train_cfg = dict(type='mmwamim.ResumableTrainLoop', max_epochs=90, val_interval=1)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=80,
        eta_min=0.,
        by_epoch=True,
        begin=10,
        end=90,
        convert_to_iter_based=True),
]
