"""SimMIM (mmpretrain's) with the same small Swin: all patches are encoded, three fifths of the
16 px units are replaced by a mask token, a linear layer predicts pixels with L1."""
_base_ = ['swin_wamim.py']
model = dict(
    _delete_=True,
    type='mmpretrain.SimMIM',
    backbone=dict(
        type='mmpretrain.SimMIMSwinTransformer',
        arch=dict(embed_dims=32, depths=[2, 2, 4, 2], num_heads=[1, 2, 4, 8]),
        img_size=96,
        patch_cfg=dict(kernel_size=2, stride=2),
        stage_cfgs=dict(block_cfgs=dict(window_size=6)),
        drop_path_rate=0.),
    neck=dict(type='mmpretrain.SimMIMLinearDecoder', in_channels=256, encoder_stride=16),
    head=dict(
        type='mmpretrain.SimMIMHead',
        patch_size=2,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L1', channel=3)))
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='mmwamim.LoadImage'),
    dict(
        type='mmpretrain.RandomResizedCrop', scale=96, crop_ratio_range=(0.2, 1.0),
        backend='pillow', interpolation='bicubic'),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    dict(
        type='mmpretrain.SimMIMMaskGenerator',
        input_size=96,
        mask_patch_size=16,
        model_patch_size=2,
        mask_ratio=0.6),
    dict(type='mmpretrain.PackInputs'),
]))
