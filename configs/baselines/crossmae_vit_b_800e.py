"""CrossMAE, ViT-B/16, 800 epochs, batch 4096 = 8 x 512: a quarter of the patches is seen, another
quarter predicted, each by itself, from features of all depths.

Run:    tools/dist_train.sh configs/baselines/crossmae_vit_b_800e.py 8
Source: Fu et al., "Rethinking Patch Dependence for Masked Autoencoders", TMLR 2025.
Official code: TonyLianLong/CrossMAE, the README's command, field by field: decoder of 12 blocks on
weighted sums of the input and all layers, and a rate scaled by predicted over masked patches, here
1.5e-4 x 1/3 per 256 images.
Published, not measured here: 83.7 top-1 after fine-tuning with all masked patches predicted, in the
repository's README (``model.predict_ratio=0.75 optim_wrapper.optimizer.lr=2.4e-3``).
"""
_base_ = ['mae_efficient_vit_b_100e.py']
model = dict(
    mask_ratio=0.75,
    predict_ratio=0.25,
    backbone=dict(out_indices=tuple(range(12)), with_input=True),
    neck=dict(type='mmwamim.CrossAttentionDecoder', depth=12))
optim_wrapper = dict(optimizer=dict(lr=1.5e-4 * 4096 / 256 * 0.25 / 0.75))
train_cfg = dict(max_epochs=800)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=760, by_epoch=True, begin=40, end=800,
         convert_to_iter_based=True),
]
