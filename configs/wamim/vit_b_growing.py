"""WaMIM, ViT-B/16, 100 epochs, batch 2048 = 8 x 256, growing resolution: docs/fast.md.

Images grow from 128 to 224 px.

Run:    tools/dist_train.sh configs/wamim/vit_b_growing.py 8
Not published by the paper; accuracy on ImageNet is not measured.
"""
_base_ = ['vit_b_100e.py']
default_hooks = dict(
    resolution=dict(
        type='mmwamim.ResolutionScheduleHook',
        sizes=(128, 160, 192, 224),
        until=(0.4, 0.7, 0.9, 1.0)))
