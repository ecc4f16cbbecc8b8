"""LocalMIM, ViT-S/16, 300 epochs, batch 2048 = 8 x 256.

Run:    tools/dist_train.sh configs/baselines/localmim_vit_s_300e.py 8
Source: Wang et al., "Masked Image Modeling with Local Multi-Scale Reconstruction", CVPR 2023.
Published, not measured here: 81.6 top-1 after fine-tuning; 0.20 GPU-hours an epoch (A100-40G),
both as reproduced in WaMIM's Table 1.
"""
_base_ = ['../wamim/vit_s_300e.py']
model = dict(
    backbone=dict(out_indices=(1, 3, 9, 11)),
    target_generator=dict(
        _delete_=True,
        type='mmwamim.HOGTargetGenerator',
        grid_strides=(4, 8, 16, 32),
        bins=9,
        exchanged=True),
    head=dict(loss_weights=(1., 1., 1., 1.)))
