r"""Fine-tuning of Swin-B on ImageNet-1K as SimMIM's authors did: 100 epochs, batch 2048 = 8 x 256,
224 px and window 7 after pre-training at 192 px and window 6.

Run:    tools/dist_train.sh configs/classification/simmim_swin_b_ft_100e.py 8 \
            --pretrained work_dirs/simmim_swin_b_192_800e/encoder.pth
Source: Xie et al., "SimMIM: a Simple Framework for Masked Image Modeling", CVPR 2022.
Official code: microsoft/SimMIM, simmim_finetune__swin_base__img224_window7__800ep: base rate
1.25e-3 per 512, an end of 2.5e-7 per 512 for every layer, layer-wise decay 0.8 (0.9 after 100
epochs of pre-training), clipping at 5, random erasing 0.25, the head's weights from 0.02. Its
colour jitter of 0.4 does nothing: timm takes RandAugment instead. There is no linear probe in it,
nor of Swin in the paper: swin_b_linear_90e.py is ours.
Published, not measured here: 84.0 top-1 after pre-training with simmim_swin_b_192_800e.
"""
_base_ = [
    '../_base_/models/classifier_swin_b.py',
    '../_base_/datasets/imagenet_finetune_erasing.py',
    '../_base_/schedules/finetune_100e.py',
    '../_base_/runtime/finetune.py',
]
model = dict(head=dict(init_cfg=[dict(type='TruncNormal', layer='Linear', std=0.02)]))
optim_wrapper = dict(
    optimizer=dict(lr=1.25e-3 * 2048 / 512),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(layer_decay_rate=0.8))
param_scheduler = [
    dict(type='LinearLR', start_factor=2e-4, by_epoch=True, begin=0, end=20,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=80, eta_min=2.5e-7 * 2048 / 512, by_epoch=True, begin=20,
         end=100, convert_to_iter_based=True),
]
