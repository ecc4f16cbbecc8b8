"""MFM, ViT-B/16, 300 epochs, batch 2048 = 8 x 256: low- or high-pass filtered images, radius 16,
one linear layer as decoder.

Run:    tools/dist_train.sh configs/baselines/mfm_vit_b_300e.py 8
Source: Xie et al., "Masked Frequency Modeling for Self-Supervised Visual Pre-Training",
ICLR 2023.
Official code: Jiahao000/MFM, field by field: base rate 3e-4 per 512, 20 epochs of warm-up,
gradients clipped at 3, images filtered in [0, 1] and clamped to it.
Published, not measured here: 83.1 top-1 after fine-tuning; 1.10 GPU-hours an epoch (A100-40G, in
WaMIM's Table 1).
"""
_base_ = [
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_vit.py',
    '../_base_/schedules/cosine_300e.py',
    '../_base_/runtime/pretrain.py',
]
model = dict(
    type='mmwamim.MFM',
    radius=16,
    low_pass=0.5,
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        out_type='featmap'),
    neck=dict(type='mmpretrain.SimMIMLinearDecoder', in_channels=768, encoder_stride=16),
    head=dict(type='mmwamim.FrequencyHead', gamma=1.),
    init_cfg=[
        dict(type='TruncNormal', layer=['Linear', 'Conv2d'], std=0.02, bias=0.),
        dict(type='Constant', layer='LayerNorm', val=1., bias=0.),
    ])
optim_wrapper = dict(optimizer=dict(lr=3e-4 * 2048 / 512), clip_grad=dict(max_norm=3.))
param_scheduler = [
    dict(type='LinearLR', start_factor=2.5e-7 / 3e-4, by_epoch=True, begin=0, end=20,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=280, eta_min=2.5e-6 * 2048 / 512, by_epoch=True, begin=20,
         end=300, convert_to_iter_based=True),
]
