r"""Fine-tuning of ViT-S/16 on ImageNet-1K: 200 epochs, batch 2048 = 8 x 256.

Run:    tools/dist_train.sh configs/classification/vit_s_ft_200e.py 8 \
            --pretrained work_dirs/vit_s_300e/encoder.pth
Published by the paper, not measured here: 82.0 top-1 after pre-training with vit_s_300e.
"""
_base_ = [
    '../_base_/models/classifier_vit_s.py',
    '../_base_/datasets/imagenet_finetune.py',
    '../_base_/schedules/finetune_100e.py',
    '../_base_/runtime/finetune.py',
]
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
train_cfg = dict(max_epochs=200)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=180,
        eta_min=0.,
        by_epoch=True,
        begin=20,
        end=200,
        convert_to_iter_based=True),
]
