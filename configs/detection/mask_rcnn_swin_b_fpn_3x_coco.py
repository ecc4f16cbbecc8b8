r"""Mask R-CNN with Swin-B and FPN on COCO: 36 epochs, batch 16 = 8 x 2.

Run:    tools/dist_train.sh configs/detection/mask_rcnn_swin_b_fpn_3x_coco.py 8 \
            --pretrained work_dirs/swin_b_400e/encoder.pth
Published by the paper, not measured here: 50.9 box AP, 45.1 mask AP.
"""
_base_ = [
    '../_base_/models/mask_rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_3x.py',
    '../_base_/runtime/detection.py',
]
model = dict(
    backbone=dict(
        type='mmpretrain.SwinTransformer',
        arch='base',
        img_size=224,
        window_size=7,
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.3,
        pad_small_map=True,
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/swin_b_400e/encoder.pth',
            prefix='backbone.')),
    neck=dict(in_channels=[128, 256, 512, 1024]))
