"""MAE (mmpretrain's) in the comparison on CIFAR-10, with the decoder in MAE's proportions: two
thirds of the encoder's width and depth. The encoder, data and schedule are WaMIM's."""
_base_ = ['wamim.py']
model = dict(
    _delete_=True,
    type='mmpretrain.MAE',
    backbone=dict(
        type='mmpretrain.MAEViT',
        arch=dict(embed_dims=96, num_layers=8, num_heads=3, feedforward_channels=384),
        img_size=32,
        patch_size=4,
        mask_ratio=0.75),
    neck=dict(
        type='mmpretrain.MAEPretrainDecoder',
        num_patches=64,
        patch_size=4,
        embed_dim=96,
        decoder_embed_dim=64,
        decoder_depth=5,
        decoder_num_heads=4),
    head=dict(
        type='mmpretrain.MAEPretrainHead',
        norm_pix=True,
        patch_size=4,
        loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2')),
    init_cfg=[
        dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0)
    ])
