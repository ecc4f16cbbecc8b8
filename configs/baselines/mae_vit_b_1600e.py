"""MAE, ViT-B/16, 1600 epochs, batch 4096 = 8 x 512, with mmpretrain's components and recipe.

Run:    tools/dist_train.sh configs/baselines/mae_vit_b_1600e.py 8
Source: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022.
Official code: facebookresearch/mae, field by field; class and mask token decay, as there.
Published, not measured here: 83.6 top-1 after fine-tuning; 0.47 GPU-hours an epoch (A100-40G,
in WaMIM's Table 1).
"""
_base_ = [
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_vit.py',
    '../_base_/schedules/cosine_400e.py',
    '../_base_/runtime/pretrain.py',
]
model = dict(
    type='mmpretrain.MAE',
    backbone=dict(type='mmpretrain.MAEViT', arch='base', patch_size=16, mask_ratio=0.75),
    neck=dict(
        type='mmpretrain.MAEPretrainDecoder',
        patch_size=16,
        in_chans=3,
        embed_dim=768,
        decoder_embed_dim=512,
        decoder_depth=8,
        decoder_num_heads=16,
        mlp_ratio=4.),
    head=dict(
        type='mmpretrain.MAEPretrainHead',
        norm_pix=True,
        patch_size=16,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')),
    init_cfg=[
        dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0)
    ])
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(
    optimizer=dict(lr=1.5e-4 * 4096 / 256), paramwise_cfg=dict(custom_keys=dict(_delete_=True)))
auto_scale_lr = dict(base_batch_size=4096)
train_cfg = dict(max_epochs=1600)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=1560, by_epoch=True, begin=40, end=1600,
         convert_to_iter_based=True),
]
