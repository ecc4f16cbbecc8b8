r"""Fine-tuning of ViT-B/16 on ImageNet-1K: 100 epochs, batch 2048 = 8 x 256.

Run:    tools/dist_train.sh configs/classification/vit_b_ft_100e.py 8 \
            --pretrained work_dirs/vit_b_400e/encoder.pth
Published by the paper, not measured here: 83.8 top-1 after pre-training with vit_b_400e.
"""
_base_ = [
    '../_base_/models/classifier_vit_b.py',
    '../_base_/datasets/imagenet_finetune.py',
    '../_base_/schedules/finetune_100e.py',
    '../_base_/runtime/finetune.py',
]
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
