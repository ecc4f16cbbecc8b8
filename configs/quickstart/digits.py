"""`make quickstart`: WaMIM on handwritten digits with a tiny ViT, about two minutes on two cores.

The geometry is that of the full configs, smaller: 8x8 tokens, and targets of 32, 16, 8 and 4 cells,
that is 4, 2, 1 and 0.5 times the token grid. Digits are not mirrored.
"""
_base_ = ['vit_tiny_pretrain.py']
model = dict(
    backbone=dict(arch=dict(embed_dims=96, num_heads=3, feedforward_channels=384)),
    neck=dict(embed_dims=48, num_heads=3))
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        data_root='quickstart/digits/train',
        pipeline=[
            dict(type='mmwamim.LoadImage'),
            dict(type='mmwamim.RandomCropToTensor', size=64, scale=(0.6, 1.0), flip=0.),
        ]))
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
