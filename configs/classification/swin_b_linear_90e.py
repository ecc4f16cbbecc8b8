r"""Linear probing of Swin-B on ImageNet-1K: encoder frozen, 90 epochs, batch 16384 = 8 x 2048.

Run:    tools/dist_train.sh configs/classification/swin_b_linear_90e.py 8 \
            --pretrained work_dirs/swin_b_400e/encoder.pth
The paper publishes no figure; the recipe is MAE's, without its batch norm in front of the linear
layer: the last stage of Swin ends with a norm.
"""
_base_ = [
    '../_base_/models/classifier_swin_b.py',
    '../_base_/datasets/imagenet_linear.py',
    '../_base_/schedules/linear_90e.py',
    '../_base_/runtime/finetune.py',
]
model = dict(
    backbone=dict(drop_path_rate=0., frozen_stages=3),
    head=dict(
        loss=dict(_delete_=True, type='mmpretrain.CrossEntropyLoss'),
        init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.01)]),
    train_cfg=None)
