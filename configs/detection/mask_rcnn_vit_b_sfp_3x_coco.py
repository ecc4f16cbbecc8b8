r"""Mask R-CNN with ViT-B and a simple feature pyramid on COCO: 36 epochs, batch 16 = 8 x 2.

Run:    tools/dist_train.sh configs/detection/mask_rcnn_vit_b_sfp_3x_coco.py 8 \
            --pretrained work_dirs/vit_b_400e/encoder.pth
The paper has no such row. Attention is global, as in pre-training, so a step needs much more
memory than with Swin; layer-wise decay 0.75 as in our fine-tuning of ViT-B.
"""
_base_ = [
    '../_base_/models/mask_rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_3x.py',
    '../_base_/runtime/detection.py',
]
model = dict(
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        out_type='featmap',
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/vit_b_400e/encoder.pth',
            prefix='backbone.')),
    neck=dict(
        _delete_=True,
        type='mmwamim.SimpleFeaturePyramid',
        in_channels=768,
        out_channels=256,
        scales=(4, 2, 1, 0.5),
        num_outs=5))
optim_wrapper = dict(
    constructor='mmwamim.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.75))
