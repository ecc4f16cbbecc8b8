"""SimMIM, Swin-B window 6 at 192 px, 800 epochs, batch 2048 = 8 x 256, with mmpretrain's
components.

Run:    tools/dist_train.sh configs/baselines/simmim_swin_b_192_800e.py 8
Source: Xie et al., "SimMIM: a Simple Framework for Masked Image Modeling", CVPR 2022.
Official code: microsoft/SimMIM, its 800-epoch recipe, field by field: base rate 1e-4 per 512, a
tenth of it from epoch 700 on.
Published, not measured here: 84.0 top-1 after fine-tuning; 0.82 GPU-hours an epoch (A100-40G,
in WaMIM's Table 1).
"""
_base_ = [
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_swin.py',
    '../_base_/schedules/cosine_100e.py',
    '../_base_/runtime/pretrain.py',
]
model = dict(
    type='mmpretrain.SimMIM',
    backbone=dict(
        type='mmpretrain.SimMIMSwinTransformer',
        arch='base',
        img_size=192,
        drop_path_rate=0.,
        stage_cfgs=dict(block_cfgs=dict(window_size=6))),
    neck=dict(type='mmpretrain.SimMIMLinearDecoder', in_channels=8 * 128, encoder_stride=32),
    head=dict(
        type='mmpretrain.SimMIMHead',
        patch_size=4,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L1', channel=3)))
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='mmwamim.LoadImage'),
    dict(type='mmpretrain.RandomResizedCrop', scale=192, crop_ratio_range=(0.67, 1.0)),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    dict(
        type='mmpretrain.SimMIMMaskGenerator',
        input_size=192,
        mask_patch_size=32,
        model_patch_size=4,
        mask_ratio=0.6),
    dict(type='mmpretrain.PackInputs'),
]))
optim_wrapper = dict(
    optimizer=dict(lr=1e-4 * 2048 / 512, betas=(0.9, 0.999)), clip_grad=dict(max_norm=5.0))
train_cfg = dict(max_epochs=800)
param_scheduler = [
    dict(type='LinearLR', start_factor=5e-3, by_epoch=True, begin=0, end=10,
         convert_to_iter_based=True),
    # Milestones count from `begin`.
    dict(type='MultiStepLR', milestones=[700], gamma=0.1, by_epoch=True, begin=0, end=800,
         convert_to_iter_based=True),
]
