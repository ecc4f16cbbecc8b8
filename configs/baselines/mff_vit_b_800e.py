"""MFF, ViT-B/16, 800 epochs, batch 4096 = 8 x 512: MAE whose decoder sees features of six depths.

Run:    tools/dist_train.sh configs/baselines/mff_vit_b_800e.py 8
Source: Liu et al., "Improving Pixel-based MIM by Reducing Wasted Modeling Capability", ICCV 2023.
Official code: open-mmlab/mmpretrain, configs/mff: layers 1, 3, 5, 7, 9 and 12, crops of shorter
sides of 224, MAE's schedule. Different here: the fusion belongs to the decoder, so that the encoder
is a stock ViT (mmpretrain's MFFViT masks images also where features are extracted); class and mask
token decay, as in MAE's own code.
Published, not measured here: 83.7 top-1 after fine-tuning, 68.3 by a linear probe (83.0 and 64.2
with 300 epochs), in mmpretrain's README.
"""
_base_ = ['pixmim_vit_b_800e.py']
model = dict(
    backbone=dict(out_indices=(0, 2, 4, 6, 8, 11)),
    target_generator=dict(
        _delete_=True, type='mmwamim.PixelTargetGenerator', grid_strides=(16, ), norm='token'))
