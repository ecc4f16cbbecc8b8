# Fine-tuning: AdamW at batch 2048, base lr 4e-4 (lr = base lr * batch / 256), layer-wise decay,
# 100 epochs with 20 of warm-up, cosine to 0.
optim_wrapper = dict(
    type='mmwamim.GuardedOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(
        type='mmwamim.FusedAdamW', lr=4e-4 * 2048 / 256, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mmwamim.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.75,
        norm_decay_mult=0.,
        bias_decay_mult=0.,
        flat_decay_mult=0.,
        custom_keys=dict(
            pos_embed=dict(decay_mult=0.),
            cls_token=dict(decay_mult=0.),
            relative_position_bias_table=dict(decay_mult=0.))))
auto_scale_lr = dict(enable=True, base_batch_size=2048)

train_cfg = dict(type='mmwamim.ResumableTrainLoop', max_epochs=100, val_interval=1)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=80,
        eta_min=0.,
        by_epoch=True,
        begin=20,
        end=100,
        convert_to_iter_based=True),
]
