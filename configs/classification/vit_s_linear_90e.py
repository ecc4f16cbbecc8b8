r"""Linear probing of ViT-S/16 on ImageNet-1K: encoder frozen, 90 epochs, batch 16384 = 8 x 2048.

Run:    tools/dist_train.sh configs/classification/vit_s_linear_90e.py 8 \
            --pretrained work_dirs/vit_s_300e/encoder.pth
The paper publishes no figure; the recipe is MAE's. Batch norm without scale and shift in front of
the linear layer, as there.
"""
_base_ = [
    '../_base_/models/classifier_vit_s.py',
    '../_base_/datasets/imagenet_linear.py',
    '../_base_/schedules/linear_90e.py',
    '../_base_/runtime/finetune.py',
]
model = dict(
    backbone=dict(drop_path_rate=0., frozen_stages=12),
    neck=dict(type='mmpretrain.ClsBatchNormNeck', input_features=384, affine=False),
    head=dict(
        loss=dict(_delete_=True, type='mmpretrain.CrossEntropyLoss'),
        init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.01)]),
    train_cfg=None)
