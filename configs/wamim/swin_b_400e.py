"""WaMIM, Swin-B window 7, 400 epochs, batch 2048 = 8 x 256.

Run:    tools/dist_train.sh configs/wamim/swin_b_400e.py 8
        python tools/train.py configs/wamim/swin_b_400e.py --data FOLDER
Published by the paper, not measured here: 84.1 top-1, 0.40 GPU-hours an epoch (A100-40G).
"""
_base_ = [
    '../_base_/models/wamim_swin_b.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_swin.py',
    '../_base_/schedules/cosine_400e.py',
    '../_base_/runtime/pretrain.py',
]
