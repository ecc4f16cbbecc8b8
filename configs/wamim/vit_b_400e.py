"""WaMIM, ViT-B/16, 400 epochs, batch 2048 = 8 x 256.

Run:    tools/dist_train.sh configs/wamim/vit_b_400e.py 8
        python tools/train.py configs/wamim/vit_b_400e.py --data FOLDER
Published by the paper, not measured here: 83.8 top-1, 0.24 GPU-hours an epoch (A100-40G).
"""
_base_ = [
    '../_base_/models/wamim_vit_b.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_vit.py',
    '../_base_/schedules/cosine_400e.py',
    '../_base_/runtime/pretrain.py',
]
