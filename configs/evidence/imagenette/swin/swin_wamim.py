r"""WaMIM with a small Swin on Imagenette: Swin-B's geometry at 224 px, halved.

Run:    python tools/sweep.py configs/evidence/imagenette/swin/*.py --data IMAGENETTE --frozen
Patch 2, mask units of 16 px (36 an image, 9 visible), windows of 6; four stages of 2, 2, 4 and 2
blocks, 32 to 256 wide, whose features have strides 4, 8, 16 and 16. Levels are cells of 2, 4, 8
and 16 px. Recipe and data are those of ../wamim.py.
"""
_base_ = ['../wamim.py']
model = dict(
    mask_unit=16,
    shared_mask=True,
    backbone=dict(
        _delete_=True,
        type='mmwamim.SparseSwin',
        arch=dict(embed_dims=32, depths=[2, 2, 4, 2], num_heads=[1, 2, 4, 8]),
        img_size=96,
        patch_size=2,
        window_size=6,
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.))
