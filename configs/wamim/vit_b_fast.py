"""WaMIM, ViT-B/16, 100 epochs, batch 2048 = 8 x 256, at less work.

Each level decodes a quarter of its masked cells, and images grow from 128 to 224 px: docs/fast.md.

Run:    tools/dist_train.sh configs/wamim/vit_b_fast.py 8
        python tools/train.py configs/wamim/vit_b_fast.py --data FOLDER
Not published by the paper; accuracy on ImageNet is not measured.
"""
_base_ = ['vit_b_100e.py']
model = dict(decode_ratio=0.25)
default_hooks = dict(
    resolution=dict(
        type='mmwamim.ResolutionScheduleHook',
        sizes=(128, 160, 192, 224),
        until=(0.4, 0.7, 0.9, 1.0)))
