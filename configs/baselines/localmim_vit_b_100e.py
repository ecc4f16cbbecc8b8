"""LocalMIM, ViT-B/16, 100 epochs, batch 2048 = 8 x 256: HOG on four scales, levels weighted
equally. Layers 2, 4, 10 and 12 predict scales of 4, 8, 16 and 32 px.

Run:    tools/dist_train.sh configs/baselines/localmim_vit_b_100e.py 8
Source: Wang et al., "Masked Image Modeling with Local Multi-Scale Reconstruction", CVPR 2023.
Official code: Haoqing-Wang/LocalMIM: layers, decoders (width 256, one block of 8 heads), 9 bins
whose edges lie 10 degrees off the usual ones (`exchanged`), base rate 2e-4 with an end of 1e-6.
Published, not measured here: 83.3 top-1 after fine-tuning (83.5 with 400 epochs); 0.30 GPU-hours
an epoch (A100-40G, in WaMIM's Table 1).
"""
_base_ = ['../wamim/vit_b_100e.py']
model = dict(
    backbone=dict(out_indices=(1, 3, 9, 11)),
    target_generator=dict(
        _delete_=True,
        type='mmwamim.HOGTargetGenerator',
        grid_strides=(4, 8, 16, 32),
        bins=9,
        exchanged=True),
    head=dict(loss_weights=(1., 1., 1., 1.)))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=90, eta_min=1e-6, by_epoch=True, begin=10, end=100,
         convert_to_iter_based=True),
]
