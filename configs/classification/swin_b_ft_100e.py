r"""Fine-tuning of Swin-B on ImageNet-1K: 100 epochs, batch 2048 = 8 x 256.

Run:    tools/dist_train.sh configs/classification/swin_b_ft_100e.py 8 \
            --pretrained work_dirs/swin_b_400e/encoder.pth
Published by the paper, not measured here: 84.1 top-1 after pre-training with swin_b_400e.
"""
_base_ = [
    '../_base_/models/classifier_swin_b.py',
    '../_base_/datasets/imagenet_finetune.py',
    '../_base_/schedules/finetune_100e.py',
    '../_base_/runtime/finetune.py',
]
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
