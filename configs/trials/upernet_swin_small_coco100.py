r"""UperNet with the small Swin on the semantic labels of 24 images, evaluated on the same.

Run:    python tools/train.py configs/trials/upernet_swin_small_coco100.py --data COCO100 \
            --pretrained work_dirs/swin_small_pretrain/encoder.pth
"""
_base_ = [
    '../_base_/models/upernet.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/runtime/segmentation.py',
]
crop = (224, 224)
train_pipeline = [
    dict(type='mmwamim.LoadImage'),
    dict(type='mmwamim.LoadLabelMap', num_classes=200, reduce_zero_label=True),
    dict(type='RandomResize', scale=(320, 240), ratio_range=(0.95, 1.3), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='mmwamim.LoadImage'),
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
    dict(type='mmwamim.LoadLabelMap', num_classes=200, reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
model = dict(
    data_preprocessor=dict(size=crop),
    backbone=dict(
        type='mmpretrain.SwinTransformer',
        arch=dict(embed_dims=48, depths=[2, 2, 4, 2], num_heads=[2, 4, 8, 16]),
        img_size=224,
        window_size=7,
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.,
        pad_small_map=True,
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/swin_small_pretrain/encoder.pth',
            prefix='backbone.')),
    decode_head=dict(in_channels=[48, 96, 192, 384], channels=96, num_classes=200),
    auxiliary_head=dict(in_channels=192, channels=48, num_classes=200),
    test_cfg=dict(_delete_=True, mode='whole'))
data_root = 'data/coco100'
data = dict(
    type='BaseSegDataset',
    data_root=data_root,
    metainfo=dict(classes=[str(i) for i in range(1, 201)]),  # COCO panoptic ids, 0 = unlabelled
    reduce_zero_label=True,
    seg_map_suffix='.png',
    indices=24,
    data_prefix=dict(img_path='train2017', seg_map_path='semantic/train2017'))
train_dataloader = dict(
    batch_size=6, num_workers=1, dataset=dict(_delete_=True, pipeline=train_pipeline, **data))
val_dataloader = dict(
    num_workers=1, dataset=dict(_delete_=True, pipeline=test_pipeline, **data))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(layer_decay_rate=0.9))
auto_scale_lr = dict(enable=False)
train_cfg = dict(max_iters=400, val_interval=200)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=30),
    dict(type='PolyLR', eta_min=0., power=1., by_epoch=False, begin=30, end=400),
]
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=10000, save_last=True, max_keep_ckpts=1))
