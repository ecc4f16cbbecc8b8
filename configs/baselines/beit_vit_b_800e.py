"""BEiT, ViT-B/16, 800 epochs, batch 2048 = 8 x 256, with mmpretrain's components.

Run:    tools/dist_train.sh configs/baselines/beit_vit_b_800e.py 8
The tokenizer's weights, dalle_encoder.pth, are linked from mmpretrain's page of BEiT; put them
into checkpoints/.
Source: Bao et al., "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022.
Official code: microsoft/unilm/beit, its 800-epoch command for ImageNet-1K. Different here: Adam's
second beta is the paper's 0.999, which the code's default at one time was not (0.98).
Published, not measured here: 83.2 top-1 after fine-tuning; 1.03 GPU-hours an epoch (A100-40G,
in WaMIM's Table 1).
"""
_base_ = [
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_vit.py',
    '../_base_/schedules/cosine_300e.py',
    '../_base_/runtime/pretrain.py',
]
model = dict(
    type='mmpretrain.BEiT',
    backbone=dict(
        type='mmpretrain.BEiTPretrainViT',
        arch='base',
        patch_size=16,
        drop_path_rate=0.1,
        final_norm=True,
        out_type='raw',
        layer_scale_init_value=0.1,
        init_cfg=[
            dict(type='TruncNormal', std=0.02, layer='Linear'),
            dict(type='TruncNormal', std=0.02, layer='Conv2d'),
            dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0)
        ]),
    neck=None,
    head=dict(
        type='mmpretrain.BEiTV1Head',
        embed_dims=768,
        num_embed=8192,
        loss=dict(type='mmpretrain.CrossEntropyLoss')),
    target_generator=dict(
        type='mmpretrain.DALL-E',
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/dalle_encoder.pth')))
data_preprocessor = dict(
    type='mmpretrain.TwoNormDataPreprocessor',
    second_mean=[-31.875, -31.875, -31.875],
    second_std=[318.75, 318.75, 318.75])
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='mmwamim.LoadImage'),
    dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    dict(
        type='mmpretrain.RandomResizedCropAndInterpolationWithTwoPic',
        size=224,
        second_size=112,
        interpolation='bicubic',
        second_interpolation='lanczos',
        scale=(0.08, 1.0)),
    dict(
        type='mmpretrain.BEiTMaskGenerator',
        input_size=(14, 14),
        num_masking_patches=75,
        max_num_patches=None,
        min_num_patches=16),
    dict(type='mmpretrain.PackInputs'),
]))
optim_wrapper = dict(
    optimizer=dict(lr=1.5e-3, betas=(0.9, 0.999)),
    clip_grad=dict(max_norm=3.0),
    paramwise_cfg=dict(custom_keys=dict(  # these two decay
        mask_token=dict(decay_mult=1.), relative_position_bias_table=dict(decay_mult=1.))))
find_unused_parameters = True
train_cfg = dict(max_epochs=800)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=790, eta_min=1e-5, by_epoch=True, begin=10, end=800,
         convert_to_iter_based=True),
]
