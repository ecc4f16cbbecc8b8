# WaMIM with Swin-B, window 7, visible tokens only in every stage. For Swin-T, -S or -L change
# arch to 'tiny', 'small' or 'large'. Target and head are those of ViT-B; every number is explained
# in docs/method.md.
_base_ = ['./wamim_vit_b.py']
model = dict(
    mask_unit=32,
    shared_mask=True,  # one mask for all images of a process's batch
    backbone=dict(
        _delete_=True,
        type='mmwamim.SparseSwin',
        arch='base',
        img_size=224,
        patch_size=4,
        in_channels=3,
        window_size=7,
        out_indices=(0, 1, 2, 3),  # the four stages, after patch merging: strides 8, 16, 32, 32
        drop_path_rate=0.),
    neck=dict(embed_dims=128, num_heads=4))
