"""WaMIM, ViT-B/16, 100 epochs, batch 2048 = 8 x 256, at less work.

Images grow from 128 to 224 px, and 82.5 % of the patches are masked: docs/fast.md.

Run:    tools/dist_train.sh configs/wamim/vit_b_fast.py 8
        python tools/train.py configs/wamim/vit_b_fast.py --data FOLDER
Not published by the paper; accuracy on ImageNet is not measured.
"""
_base_ = ['vit_b_growing.py']
model = dict(mask_ratio=0.825)
