"""The same as labels_10.py with the small Swin of ../swin."""
_base_ = ['labels_10.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.SwinTransformer',
        arch=dict(embed_dims=32, depths=[2, 2, 4, 2], num_heads=[1, 2, 4, 8]),
        img_size=96,
        patch_size=2,
        window_size=6,
        drop_path_rate=0.,
        init_cfg=dict(type='Pretrained', checkpoint='encoder.pth', prefix='backbone.')),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(in_channels=256))
