r"""MoCo v3, ViT-B/16, 300 epochs of two crops (600 in the paper's count), batch 4096 = 16 x 256,
with mmpretrain's components and recipe.

Run:    GPUS=16 tools/slurm_train.sh PARTITION NAME configs/baselines/mocov3_vit_b_600e.py \
            work_dirs/mocov3_vit_b_600e
Source: Chen, Xie and He, "An Empirical Study of Training Self-Supervised Vision Transformers",
ICCV 2021.
Official code: facebookresearch/moco-v3; every parameter decays, as there.
Published, not measured here: 83.2 top-1 after fine-tuning.
"""
_base_ = [
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_vit.py',
    '../_base_/schedules/cosine_300e.py',
    '../_base_/runtime/pretrain.py',
]
temperature = 0.2
model = dict(
    type='mmpretrain.MoCoV3',
    base_momentum=0.01,
    backbone=dict(
        type='mmpretrain.MoCoV3ViT',
        arch='base',
        img_size=224,
        patch_size=16,
        stop_grad_conv1=True),
    neck=dict(
        type='mmpretrain.NonLinearNeck',
        in_channels=768,
        hid_channels=4096,
        out_channels=256,
        num_layers=3,
        with_bias=False,
        with_last_bn=True,
        with_last_bn_affine=False,
        with_last_bias=False,
        with_avg_pool=False),
    head=dict(
        type='mmpretrain.MoCoV3Head',
        predictor=dict(
            type='mmpretrain.NonLinearNeck',
            in_channels=256,
            hid_channels=4096,
            out_channels=256,
            num_layers=2,
            with_bias=False,
            with_last_bn=True,
            with_last_bn_affine=False,
            with_last_bias=False,
            with_avg_pool=False),
        loss=dict(type='mmpretrain.CrossEntropyLoss', loss_weight=2 * temperature),
        temperature=temperature))


def view(blur, solarize):
    return [
        dict(
            type='mmpretrain.RandomResizedCrop',
            scale=224,
            crop_ratio_range=(0.08, 1.),
            backend='pillow'),
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
        dict(type='mmpretrain.RandomFlip', prob=0.5),
    ]


train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='mmwamim.LoadImage'),
    dict(
        type='mmpretrain.MultiView',
        num_views=[1, 1],
        transforms=[view(1., 0.), view(0.1, 0.2)]),
    dict(type='mmpretrain.PackInputs'),
]))
optim_wrapper = dict(
    optimizer=dict(lr=2.4e-3, betas=(0.9, 0.999), weight_decay=0.1),
    paramwise_cfg=dict(_delete_=True))
auto_scale_lr = dict(base_batch_size=4096)
find_unused_parameters = True
train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=260, by_epoch=True, begin=40, end=300,
         convert_to_iter_based=True),
]
