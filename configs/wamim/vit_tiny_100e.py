"""WaMIM, ViT-Ti/16, 100 epochs, batch 2048 = 8 x 256. Not in the paper: for small machines.

Run:    mmwamim pretrain FOLDER --arch vit_tiny
        tools/dist_train.sh configs/wamim/vit_tiny_100e.py 8
"""
_base_ = ['vit_s_100e.py']
model = dict(
    backbone=dict(arch='deit-tiny'),
    neck=dict(embed_dims=128, num_heads=4))
