"""MAE, ViT-S/16, 300 epochs, batch 4096 = 8 x 512.

Run:    tools/dist_train.sh configs/baselines/mae_vit_s_300e.py 8
Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022.
Published, not measured here: 80.9 top-1 after fine-tuning; 0.32 GPU-hours an epoch (A100-40G),
both as reproduced in WaMIM's Table 1.
"""
_base_ = ['mae_vit_b_1600e.py']
model = dict(backbone=dict(arch='deit-small'), neck=dict(embed_dim=384))
train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=260, by_epoch=True, begin=40, end=300,
         convert_to_iter_based=True),
]
