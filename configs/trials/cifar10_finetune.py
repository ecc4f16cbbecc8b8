r"""Fine-tuning of the small ViT on a twentieth of CIFAR-10, from a checkpoint or from scratch.

Run:    python tools/train.py configs/trials/cifar10_finetune.py --data CIFAR10 \
            --pretrained work_dirs/cifar10_pretrain/encoder.pth     (or --pretrained none)
"""
_base_ = [
    '../_base_/models/classifier_vit_s.py',
    '../_base_/datasets/imagenet_finetune.py',
    '../_base_/schedules/finetune_100e.py',
    '../_base_/runtime/finetune.py',
]
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=128, num_layers=8, num_heads=4, feedforward_channels=512),
        img_size=32,
        patch_size=4,
        drop_path_rate=0.,
        init_cfg=dict(checkpoint='work_dirs/cifar10_pretrain/encoder.pth')),
    head=dict(num_classes=10, in_channels=128),
    train_cfg=None)
data_preprocessor = dict(num_classes=10)
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    dataset=dict(
        data_root='data/cifar10',
        indices=list(range(0, 50000, 20)),  # every twentieth image: 250 of each class
        pipeline=[
            dict(type='mmwamim.LoadImage'),
            dict(type='mmpretrain.RandomCrop', crop_size=32, padding=4),
            dict(type='mmpretrain.RandomFlip', prob=0.5),
            dict(type='mmpretrain.PackInputs'),
        ]))
test_pipeline = [
    dict(type='mmwamim.LoadImage'), dict(type='mmpretrain.PackInputs')
]
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        data_root='data/cifar10',
        data_prefix='test',
        indices=list(range(0, 10000, 4)),  # 250 of each class
        pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(layer_decay_rate=0.8))
auto_scale_lr = dict(enable=False, base_batch_size=128)
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(interval=1000, save_last=True, max_keep_ckpts=1, save_best=None))
