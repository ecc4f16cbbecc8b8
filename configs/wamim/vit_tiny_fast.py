"""WaMIM, ViT-Ti/16, 100 epochs, batch 2048 = 8 x 256, at less work.

Images grow from 128 to 224 px, and four fifths of the patches are masked: docs/fast.md.

Run:    mmwamim pretrain FOLDER --arch vit_tiny_fast
        tools/dist_train.sh configs/wamim/vit_tiny_fast.py 8
Not in the paper; accuracy on ImageNet is not measured.
"""
_base_ = ['vit_tiny_100e.py']
model = dict(mask_ratio=0.8)
default_hooks = dict(
    resolution=dict(
        type='mmwamim.ResolutionScheduleHook',
        sizes=(128, 160, 192, 224),
        until=(0.4, 0.7, 0.9, 1.0)))
