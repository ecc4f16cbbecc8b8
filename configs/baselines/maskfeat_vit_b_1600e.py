"""MaskFeat, ViT-B/16, 1600 epochs, batch 2048 = 8 x 256, with mmpretrain's components.

Run:    tools/dist_train.sh configs/baselines/maskfeat_vit_b_1600e.py 8
Source: Wei et al., "Masked Feature Prediction for Self-Supervised Visual Pre-Training",
CVPR 2022.
Official code: facebookresearch/SlowFast, in1k_VIT_B_MaskFeat_PT.yaml, whose rates (peak, start of
the warm-up and end) are scaled by the number of machines. It is a 300-epoch recipe; here 1600
epochs, which the paper has too, with the same warm-up of 30.
Published, not measured here: 84.0 top-1 after fine-tuning; 1.67 GPU-hours an epoch (A100-40G,
in WaMIM's Table 1).
"""
_base_ = [
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_vit.py',
    '../_base_/schedules/cosine_300e.py',
    '../_base_/runtime/pretrain.py',
]
model = dict(
    type='mmpretrain.MaskFeat',
    backbone=dict(type='mmpretrain.MaskFeatViT', arch='b', patch_size=16),
    neck=dict(
        type='mmpretrain.LinearNeck',
        in_channels=768,
        out_channels=108,
        norm_cfg=None,
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02, bias=0)),
    head=dict(
        type='mmpretrain.MIMHead',
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')),
    target_generator=dict(
        type='mmpretrain.HOGGenerator', nbins=9, pool=8, gaussian_window=16))
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='mmwamim.LoadImage'),
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.5, 1.0),
        interpolation='bicubic'),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    dict(
        type='mmpretrain.BEiTMaskGenerator',
        input_size=14,
        num_masking_patches=78,
        min_num_patches=15),
    dict(type='mmpretrain.PackInputs'),
]))
optim_wrapper = dict(
    optimizer=dict(lr=2e-4 * 2048 / 256, betas=(0.9, 0.999)),
    clip_grad=dict(max_norm=0.02),
    paramwise_cfg=dict(custom_keys=dict(  # these two decay
        pos_embed=dict(decay_mult=1.), cls_token=dict(decay_mult=1.))))
train_cfg = dict(max_epochs=1600)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6 / 2e-4, by_epoch=True, begin=0, end=30,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=1570, eta_min=1e-6 * 2048 / 256, by_epoch=True, begin=30,
         end=1600, convert_to_iter_based=True),
]
