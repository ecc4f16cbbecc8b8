"""GreenMIM, Swin-B window 7, 800 epochs, batch 2048 = 8 x 256: visible tokens alone in every
stage, one decoder on the last stage, normalised pixels of 32x32 units.

Run:    tools/dist_train.sh configs/baselines/greenmim_swin_b_800e.py 8
Source: Huang et al., "Green Hierarchical Vision Transformer for Masked Image Modeling",
NeurIPS 2022.
Official code: LayneH/GreenMIM, its Swin-B script (200 epochs there, batch of other size): decoder
of one block, width 512, 16 heads; base rate 1.5e-4; warm-up of 40 epochs.
Published, not measured here: 83.7 top-1 after fine-tuning; 0.37 GPU-hours an epoch (A100-40G, in
WaMIM's Table 1).
"""
_base_ = ['../wamim/swin_b_400e.py']
model = dict(
    backbone=dict(out_indices=(3, )),
    neck=dict(embed_dims=512, num_heads=16),
    target_generator=dict(
        _delete_=True, type='mmwamim.PixelTargetGenerator', grid_strides=(32, ), norm='token'),
    head=dict(loss_weights=(1., )))
optim_wrapper = dict(optimizer=dict(lr=1.5e-4 * 2048 / 256))
train_cfg = dict(max_epochs=800)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=760, eta_min=0., by_epoch=True, begin=40, end=800,
         convert_to_iter_based=True),
]
