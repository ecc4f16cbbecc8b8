"""MAE (mmpretrain's) with the decoder in MAE's proportions: two thirds of the encoder's width and
depth. The encoder, data and schedule are WaMIM's."""
_base_ = ['wamim.py']
model = dict(
    _delete_=True,
    type='mmpretrain.MAE',
    backbone=dict(
        type='mmpretrain.MAEViT',
        arch=dict(embed_dims=128, num_layers=12, num_heads=2, feedforward_channels=512),
        img_size=96,
        patch_size=8,
        out_indices=(2, 5, 8, 11),  # for probing; pre-training reads the last layer alone
        mask_ratio=0.75),
    neck=dict(
        type='mmpretrain.MAEPretrainDecoder',
        num_patches=144,
        patch_size=8,
        embed_dim=128,
        decoder_embed_dim=84,
        decoder_depth=8,
        decoder_num_heads=3),
    head=dict(
        type='mmpretrain.MAEPretrainHead',
        norm_pix=True,
        patch_size=8,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')),
    init_cfg=[
        dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0)
    ])
