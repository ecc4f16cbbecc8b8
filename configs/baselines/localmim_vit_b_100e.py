"""LocalMIM, ViT-B/16, 100 epochs, batch 2048 = 8 x 256: HOG on four scales, levels weighted
equally. Layers 2, 4, 10 and 12 predict scales of 4, 8, 16 and 32 px.

Run:    tools/dist_train.sh configs/baselines/localmim_vit_b_100e.py 8
Source: Wang et al., "Masked Image Modeling with Local Multi-Scale Reconstruction", CVPR 2023.
Reconstructed: decoder and schedule are WaMIM's, which follow LocalMIM's; so are the layers, which
divide the depth as Swin's stages do.
Published, not measured here: 83.3 top-1 after fine-tuning (83.5 with 400 epochs); 0.30 GPU-hours
an epoch (A100-40G, in WaMIM's Table 1).
"""
_base_ = ['../wamim/vit_b_100e.py']
model = dict(
    backbone=dict(out_indices=(1, 3, 9, 11)),
    target_generator=dict(
        _delete_=True, type='mmwamim.HOGTargetGenerator', grid_strides=(4, 8, 16, 32), bins=9),
    head=dict(loss_weights=(1., 1., 1., 1.)))
