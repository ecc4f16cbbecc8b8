r"""Fine-tuning in the comparison on Imagenette with every tenth label: 946 photographs, 30 epochs.

Run:    python tools/train.py configs/evidence/imagenette/finetuning/labels_10.py \
            --data IMAGENETTE --pretrained encoder.pth      (or --pretrained none)
"""
_base_ = [
    '../../../_base_/models/classifier_vit_s.py',
    '../../../_base_/datasets/imagenet_finetune.py',
    '../../../_base_/schedules/finetune_100e.py',
    '../../../_base_/runtime/finetune.py',
]
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=12, num_heads=2, feedforward_channels=512),
        img_size=96,
        patch_size=8,
        drop_path_rate=0.),
    head=dict(num_classes=10, in_channels=128),
    train_cfg=None)
data_preprocessor = dict(num_classes=10)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        data_root='data/imagenette',
        indices=list(range(0, 9469, 10)),
        pipeline=[
            dict(type='mmwamim.LoadImage'),
            dict(type='mmpretrain.RandomResizedCrop', scale=96, crop_ratio_range=(0.35, 1.0),
                 backend='pillow', interpolation='bicubic'),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(type='mmpretrain.PackInputs'),
        ]))
test_pipeline = [
    dict(type='mmwamim.LoadImage'),
    dict(type='mmpretrain.ResizeEdge', scale=110, edge='short', backend='pillow',
         interpolation='bicubic'),
    dict(type='mmpretrain.CenterCrop', crop_size=96),
    dict(type='mmpretrain.PackInputs'),
]
val_dataloader = dict(
    batch_size=128,
    num_workers=1,
    dataset=dict(data_root='data/imagenette', pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=30, val_interval=30)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=3,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=27, eta_min=0., by_epoch=True, begin=3, end=30,
         convert_to_iter_based=True),
]
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(layer_decay_rate=0.8))
auto_scale_lr = dict(enable=False, base_batch_size=64)
default_hooks = dict(
    logger=dict(interval=14),
    checkpoint=dict(interval=1000, save_last=True, max_keep_ckpts=1, save_best=None))
