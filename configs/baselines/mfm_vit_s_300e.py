"""MFM, ViT-S/16, 300 epochs, batch 2048 = 8 x 256.

Run:    tools/dist_train.sh configs/baselines/mfm_vit_s_300e.py 8
Source: Xie et al., "Masked Frequency Modeling for Self-Supervised Visual Pre-Training",
ICLR 2023.
Published, not measured here: 81.6 top-1 after fine-tuning; 0.60 GPU-hours an epoch (A100-40G, in
WaMIM's Table 1).
"""
_base_ = ['mfm_vit_b_300e.py']
model = dict(backbone=dict(arch='deit-small'), neck=dict(in_channels=384))
