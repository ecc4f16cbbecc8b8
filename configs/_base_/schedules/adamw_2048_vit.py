# AdamW for ViT at batch 2048: base lr 2e-4, lr = base lr * batch / 256.
optim_wrapper = dict(
    # On a GPU the networks run in bfloat16, which needs no loss scaling; wavelets and loss stay
    # in float32. Where there is no GPU tools/train.py takes float32 for all.
    type='mmwamim.GuardedOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(
        type='mmwamim.FusedAdamW', lr=2e-4 * 2048 / 256, betas=(0.9, 0.95), weight_decay=0.05),
    # No decay on norms, biases, positions and tokens: two groups of parameters.
    constructor='mmwamim.MergedOptimWrapperConstructor',
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        bias_decay_mult=0.,
        flat_decay_mult=0.,
        custom_keys=dict(
            pos_embed=dict(decay_mult=0.),
            cls_token=dict(decay_mult=0.),
            mask_token=dict(decay_mult=0.),
            relative_position_bias_table=dict(decay_mult=0.))))

# The learning rate follows the batch, whatever number of processes there is.
auto_scale_lr = dict(enable=True, base_batch_size=2048)
