"""iBOT, ViT-B/16, 400 epochs, batch 1024 = 8 x 128, two global crops and ten local ones.

Run:    tools/dist_train.sh configs/baselines/ibot_vit_b_400e.py 8
Source: Zhou et al., "iBOT: Image BERT Pre-Training with Online Tokenizer", ICLR 2022.
Official code: bytedance/ibot: rates, decay and clipping are the defaults of main_ibot.py, crops and
masks (blocks) those of its README; the list of arguments of its own ViT-B run was not at hand.
Different here: gradients are clipped by the norm of all of them, not of each tensor.
Published, not measured here: 83.8 top-1 after fine-tuning; 4.33 GPU-hours an epoch (A100-40G, in
WaMIM's Table 1).
"""
_base_ = [
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_vit.py',
    '../_base_/schedules/cosine_400e.py',
    '../_base_/runtime/pretrain.py',
]
model = dict(
    type='mmwamim.IBOT',
    mask_ratio=(0.1, 0.5),
    mask_shape='block',
    masked_views=0.5,
    momentum=0.004,
    teacher_temperature=(0.04, 0.07),
    warmup_epochs=30,
    frozen_epochs=1,
    backbone=dict(type='mmpretrain.MaskFeatViT', arch='b', img_size=224, patch_size=16,
                  drop_path_rate=0.1),
    head=dict(type='mmwamim.SelfDistillationHead', in_channels=768, out_channels=8192))


def view(size, scale, blur, solarize):
    return [
        dict(
            type='mmpretrain.RandomResizedCrop',
            scale=size,
            crop_ratio_range=scale,
            backend='pillow',
            interpolation='bicubic'),
        dict(type='mmpretrain.RandomFlip', prob=0.5),
        dict(
            type='mmcv.RandomApply',
            transforms=[
                dict(
                    type='mmpretrain.ColorJitter',
                    brightness=0.4,
                    contrast=0.4,
                    saturation=0.2,
                    hue=0.1)
            ],
            prob=0.8),
        dict(
            type='mmcv.RandomGrayscale',
            prob=0.2,
            keep_channels=True,
            channel_weights=(0.114, 0.587, 0.2989)),
        dict(
            type='mmpretrain.GaussianBlur',
            magnitude_range=(0.1, 2.0),
            magnitude_std='inf',
            prob=blur),
        dict(type='mmpretrain.Solarize', thr=128, prob=solarize),
    ]


train_dataloader = dict(
    batch_size=128,
    dataset=dict(pipeline=[
        dict(type='mmwamim.LoadImage'),
        dict(
            type='mmpretrain.MultiView',
            num_views=[1, 1, 10],
            transforms=[
                view(224, (0.25, 1.), 1., 0.),
                view(224, (0.25, 1.), 0.1, 0.2),
                view(96, (0.05, 0.25), 0.5, 0.),
            ]),
        dict(type='mmpretrain.PackInputs'),
    ]))
optim_wrapper = dict(
    optimizer=dict(lr=5e-4 * 1024 / 256, betas=(0.9, 0.999), weight_decay=0.04),
    clip_grad=dict(max_norm=3.),
    # Position, class and mask token decay, too.
    paramwise_cfg=dict(custom_keys=dict(_delete_=True)))
find_unused_parameters = True  # prototypes while they are frozen
auto_scale_lr = dict(base_batch_size=1024)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=390, eta_min=1e-6, by_epoch=True, begin=10, end=400,
         convert_to_iter_based=True),
    # From 0.04 to 0.4; what does not decay stays at zero.
    dict(type='CosineAnnealingParamScheduler', param_name='weight_decay', T_max=400,
         eta_min_ratio=10., by_epoch=True, begin=0, end=400, convert_to_iter_based=True),
]
