r"""WaMIM in the comparison on Imagenette: 96 px crops, patch 8, the paper's geometry.

Run:    python tools/sweep.py configs/evidence/imagenette/*.py --data IMAGENETTE --frozen
A ViT of 12 layers, 128 wide. Levels lie at 1/4, 1/2, 1 and 2 patches and come from layers 3, 6, 9
and 12, as in ViT-B/16 at 224 px; the decoders are a third of the encoder's width. The recipe is
the paper's but for the batch, 128, and the rate: 1e-3, ten times what the paper's base rate gives
at this batch, since runs are short. Every other file of this folder changes what its name says
and nothing else.
"""
_base_ = [
    '../../_base_/models/wamim_vit_s.py',
    '../../_base_/datasets/imagenet_pretrain.py',
    '../../_base_/schedules/adamw_2048_vit.py',
    '../../_base_/schedules/cosine_100e.py',
    '../../_base_/runtime/pretrain.py',
]
model = dict(
    mask_unit=8,
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=12, num_heads=2, feedforward_channels=512),
        img_size=96,
        patch_size=8,
        out_indices=(2, 5, 8, 11)),
    neck=dict(embed_dims=48, num_heads=2),
    target_generator=dict(levels=(1, 2, 3, 4)))  # cells of 2, 4, 8, 16 px: grids 48, 24, 12, 6
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    dataset=dict(
        data_root='data/imagenette',
        pipeline=[
            dict(type='mmwamim.LoadImage'),
            dict(type='mmwamim.RandomCropToTensor', size=96, scale=(0.2, 1.0), flip=0.5),
        ]))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(enable=False, base_batch_size=128)
default_hooks = dict(
    logger=dict(interval=73),
    checkpoint=dict(interval=1000, save_last=True, max_keep_ckpts=1))
