# 160k steps at batch 16: AdamW 4e-4, 1500 steps of warm-up, then linear to 0.
optim_wrapper = dict(
    type='mmwamim.GuardedOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='mmwamim.FusedAdamW', lr=4e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mmwamim.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.75,
        norm_decay_mult=0.,
        custom_keys=dict(
            pos_embed=dict(decay_mult=0.),
            cls_token=dict(decay_mult=0.),
            relative_position_bias_table=dict(decay_mult=0.))))
auto_scale_lr = dict(enable=True, base_batch_size=16)

train_cfg = dict(type='mmwamim.ResumableIterLoop', max_iters=160000, val_interval=16000)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0., power=1., by_epoch=False, begin=1500, end=160000),
]
