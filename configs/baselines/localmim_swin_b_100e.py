"""LocalMIM, Swin-B, 100 epochs, batch 2048 = 8 x 256: HOG of four scales from the four stages,
which see visible tokens alone.

Run:    tools/dist_train.sh configs/baselines/localmim_swin_b_100e.py 8
Source: Wang et al., "Masked Image Modeling with Local Multi-Scale Reconstruction", CVPR 2023.
Reconstructed: decoder and schedule are WaMIM's.
Published, not measured here: 83.8 top-1 after fine-tuning (84.1 with 400 epochs); 0.50 GPU-hours
an epoch (A100-40G, in WaMIM's Table 1).
"""
_base_ = ['../wamim/swin_b_100e.py']
model = dict(
    target_generator=dict(
        _delete_=True, type='mmwamim.HOGTargetGenerator', grid_strides=(4, 8, 16, 32), bins=9),
    head=dict(loss_weights=(1., 1., 1., 1.)))
