"""WaMIM, ViT-S/16, 100 epochs, batch 2048 = 8 x 256, at less work.

Images grow from 128 to 224 px, four fifths of the patches are masked, and each level decodes half
of its masked cells: docs/fast.md.

Run:    tools/dist_train.sh configs/wamim/vit_s_fast.py 8
        python tools/train.py configs/wamim/vit_s_fast.py --data FOLDER
Not published by the paper; accuracy on ImageNet is not measured.
"""
_base_ = ['vit_s_100e.py']
model = dict(mask_ratio=0.8, decode_ratio=0.5)
default_hooks = dict(
    resolution=dict(
        type='mmwamim.ResolutionScheduleHook',
        sizes=(128, 160, 192, 224),
        until=(0.4, 0.7, 0.9, 1.0)))
