# 36 epochs at batch 16: AdamW 1e-4, divided by ten after 27 and 33 epochs.
optim_wrapper = dict(
    type='mmwamim.GuardedOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='mmwamim.FusedAdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mmwamim.MergedOptimWrapperConstructor',
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.),
            pos_embed=dict(decay_mult=0.),
            cls_token=dict(decay_mult=0.),
            relative_position_bias_table=dict(decay_mult=0.))))
auto_scale_lr = dict(enable=True, base_batch_size=16)

train_cfg = dict(type='mmwamim.ResumableTrainLoop', max_epochs=36, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=36, milestones=[27, 33], gamma=0.1),
]
