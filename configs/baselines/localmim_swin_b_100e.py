"""LocalMIM, Swin-B, 100 epochs, batch 2048 = 8 x 256: HOG of cells of 8, 16, 32 and 32 px from the
four stages, each on the stage's own grid; the stages see visible tokens alone.

Run:    tools/dist_train.sh configs/baselines/localmim_swin_b_100e.py 8
Source: Wang et al., "Masked Image Modeling with Local Multi-Scale Reconstruction", CVPR 2023.
Official code: Haoqing-Wang/LocalMIM: 18 bins, for each level a bias, and its order of bins;
decoders of width 64, 128, 128 and 128 with 4 heads and a linear prediction; equal weights; base
rate 1e-4.
Published, not measured here: 83.8 top-1 after fine-tuning (84.1 with 400 epochs); 0.50 GPU-hours
an epoch (A100-40G, in WaMIM's Table 1).
"""
_base_ = ['../wamim/swin_b_100e.py']
model = dict(
    neck=dict(embed_dims=(64, 128, 128, 128), num_heads=4),
    target_generator=dict(
        _delete_=True,
        type='mmwamim.HOGTargetGenerator',
        grid_strides=(8, 16, 32, 32),
        bins=18,
        bias=True,
        exchanged=True),
    head=dict(loss_weights=(1., 1., 1., 1.)))
