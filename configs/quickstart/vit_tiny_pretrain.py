"""WaMIM on 64 px crops with a small ViT: `make quickstart`, two minutes on two CPU cores.

The same geometry as the full configs, smaller: an 8x8 token grid and targets of 32, 16, 8 and 4
cells, that is 4, 2, 1 and 0.5 times the token grid.
"""
_base_ = [
    '../_base_/models/wamim_vit_s.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_vit.py',
    '../_base_/schedules/cosine_100e.py',
    '../_base_/runtime/pretrain.py',
]
model = dict(
    mask_unit=8,
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=128,
            num_layers=8,
            num_heads=4,
            feedforward_channels=512),
        img_size=64,
        patch_size=8,
        out_indices=(1, 3, 5, 7)),
    neck=dict(embed_dims=64, num_heads=4),
    target_generator=dict(levels=(1, 2, 3, 4)))
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(
        data_root='quickstart/images',
        pipeline=[
            dict(type='mmwamim.LoadImage'),
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=64,
                crop_ratio_range=(0.2, 1.0),
                backend='pillow',
                interpolation='bicubic'),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(type='mmpretrain.PackInputs'),
        ]))
# A small batch for few steps: higher than 2e-4 * batch / 256, and the same for 1 or 2 processes.
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(enable=False, base_batch_size=64)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=1000, save_last=True, max_keep_ckpts=1))
