"""CAE, ViT-B/16, 800 epochs, batch 2048 = 8 x 256, with mmpretrain's components. Needs
BEiT's tokenizer.

Run:    tools/dist_train.sh configs/baselines/cae_vit_b_800e.py 8
Source: Chen et al., "Context Autoencoder for Self-Supervised Representation Learning",
IJCV 2024.
Official code: lxtGH/CAE, its 800-epoch script: no colour jitter, half of the patches masked,
warm-up of 20 epochs, paths dropped at up to 0.1.
Published, not measured here: 83.6 top-1 after fine-tuning; 1.20 GPU-hours an epoch (A100-40G,
in WaMIM's Table 1).
"""
_base_ = ['beit_vit_b_800e.py']
model = dict(
    _delete_=True,
    type='mmpretrain.CAE',
    backbone=dict(
        type='mmpretrain.CAEPretrainViT',
        arch='b',
        patch_size=16,
        drop_path_rate=0.1,
        layer_scale_init_value=0.1,
        bias='qv_bias'),
    neck=dict(
        type='mmpretrain.CAENeck',
        mask_tokens_num=98,
        embed_dims=768,
        num_heads=12,
        regressor_depth=4,
        decoder_depth=4,
        mlp_ratio=4,
        drop_path_rate=0.1,
        layer_scale_init_value=0.1),
    head=dict(type='mmpretrain.CAEHead', loss=dict(type='mmpretrain.CAELoss', lambd=2)),
    target_generator=dict(
        type='mmpretrain.DALL-E',
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/dalle_encoder.pth')),
    base_momentum=0.0)
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='mmwamim.LoadImage'),
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
        num_masking_patches=98,
        max_num_patches=None,
        min_num_patches=16),
    dict(type='mmpretrain.PackInputs'),
]))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=20,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=780, eta_min=1e-5, by_epoch=True, begin=20, end=800,
         convert_to_iter_based=True),
]
