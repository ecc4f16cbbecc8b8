"""WaMIM on CIFAR-10 with a small ViT: 32 px, patch 4, an 8x8 token grid; minutes on a CPU.

Run:    python tools/train.py configs/trials/cifar10_pretrain.py --data CIFAR10
"""
_base_ = [
    '../_base_/models/wamim_vit_s.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_vit.py',
    '../_base_/schedules/cosine_100e.py',
    '../_base_/runtime/pretrain.py',
]
model = dict(
    mask_unit=4,
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=8, num_heads=4, feedforward_channels=512),
        img_size=32,
        patch_size=4,
        out_indices=(1, 3, 5, 7)),
    neck=dict(embed_dims=64, num_heads=4),
    target_generator=dict(levels=(1, 2, 3, 4)))  # grids 16, 8, 4, 2
train_dataloader = dict(
    batch_size=256,
    num_workers=2,
    dataset=dict(
        data_root='data/cifar10',
        pipeline=[
            dict(type='mmwamim.LoadImage'),
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=32,
                crop_ratio_range=(0.5, 1.0),
                backend='pillow',
                interpolation='bicubic'),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(type='mmpretrain.PackInputs'),
        ]))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(enable=False, base_batch_size=256)
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(interval=1000, save_last=True, max_keep_ckpts=1))
