"""WaMIM with a small Swin in the comparison on CIFAR-10: patch 2 and three stages, so that a mask
unit is 8 px, 16 units an image; features of strides 4, 8 and 8."""
_base_ = ['../wamim.py']
model = dict(
    mask_unit=8,
    shared_mask=True,
    backbone=dict(
        _delete_=True,
        type='mmwamim.SparseSwin',
        arch=dict(embed_dims=48, depths=[2, 4, 2], num_heads=[2, 4, 8]),
        img_size=32,
        patch_size=2,
        window_size=4,
        out_indices=(0, 1, 2),
        drop_path_rate=0.),
    target_generator=dict(levels=(2, 3, 4)),
    head=dict(loss_weights=(0.8, 1., 1.2)))
