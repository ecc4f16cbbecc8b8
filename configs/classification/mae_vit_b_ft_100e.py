r"""Fine-tuning of ViT-B/16 on ImageNet-1K as MAE's authors did: 100 epochs, batch 1024 = 8 x 128.

Run:    tools/dist_train.sh configs/classification/mae_vit_b_ft_100e.py 8 \
            --pretrained work_dirs/mae_vit_b_1600e/encoder.pth
Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022.
Official code: facebookresearch/mae, FINETUNE.md and main_finetune.py: base rate 5e-4, layer-wise
decay 0.65, 5 epochs of warm-up, an end of 1e-6 that is scaled by layer as the rate is, random
erasing 0.25. Different here: bfloat16 for float16.
Published, not measured here: 83.6 top-1 after pre-training with mae_vit_b_1600e.
"""
_base_ = [
    '../_base_/models/classifier_vit_b.py',
    '../_base_/datasets/imagenet_finetune_erasing.py',
    '../_base_/schedules/finetune_100e.py',
    '../_base_/runtime/finetune.py',
]
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(
    optimizer=dict(lr=5e-4 * 1024 / 256), paramwise_cfg=dict(layer_decay_rate=0.65))
auto_scale_lr = dict(base_batch_size=1024)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=5,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=95, eta_min_ratio=1e-6 / 2e-3, by_epoch=True, begin=5,
         end=100, convert_to_iter_based=True),
]
