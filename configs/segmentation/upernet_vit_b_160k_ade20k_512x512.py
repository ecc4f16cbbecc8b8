r"""UperNet with ViT-B on ADE20K: 160k steps, batch 16 = 8 x 2.

Run:    tools/dist_train.sh configs/segmentation/upernet_vit_b_160k_ade20k_512x512.py 8 \
            --pretrained work_dirs/vit_b_400e/encoder.pth
Published by the paper, not measured here: 48.7 mIoU.
"""
_base_ = [
    '../_base_/models/upernet.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/runtime/segmentation.py',
]
model = dict(
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=512,
        patch_size=16,
        out_indices=[2, 5, 8, 11],  # a list: mmpretrain writes into it
        out_type='featmap',
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/vit_b_400e/encoder.pth',
            prefix='backbone.')),
    neck=dict(
        type='Feature2Pyramid', embed_dim=768, rescales=[4, 2, 1, 0.5],
        norm_cfg=dict(type='SyncBN', requires_grad=True)),
    decode_head=dict(in_channels=[768, 768, 768, 768]),
    auxiliary_head=dict(in_channels=768))
