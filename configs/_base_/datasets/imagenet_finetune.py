# ImageNet, or any set in its layout: train/<class>/*, val/<class>/*. Set another folder with
# `--data FOLDER`; the number of classes follows from it.
num_classes = 1000
data_preprocessor = dict(
    type='mmpretrain.ClsDataPreprocessor',
    num_classes=num_classes,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True)

train_pipeline = [
    dict(type='mmwamim.LoadImage'),
    dict(type='mmwamim.RandomResizedCrop', scale=224, interpolation='bicubic'),
    dict(type='mmpretrain.RandomFlip', prob=0.5),
    dict(
        type='mmwamim.RandAugment',  # mmpretrain's, with faster steps
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic')),
    # Not in the WaMIM paper's table, and 0.25 in the code of MAE, LocalMIM, GreenMIM and SimMIM:
    # `--cfg-options train_dataloader.dataset.pipeline.4.erase_prob=0.25`. As timm's 'pixel' mode.
    dict(
        type='mmpretrain.RandomErasing',
        erase_prob=0.,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=[103.53, 116.28, 123.675],
        fill_std=[57.375, 57.12, 58.395]),
    dict(type='mmpretrain.PackInputs'),
]
test_pipeline = [
    dict(type='mmwamim.LoadImage'),
    dict(type='mmwamim.ResizeEdge', scale=256, edge='short', interpolation='bicubic'),
    dict(type='mmpretrain.CenterCrop', crop_size=224),
    dict(type='mmpretrain.PackInputs'),
]

train_dataloader = dict(
    batch_size=256,  # for each of 8 processes: 2048
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mmwamim.ResumableSampler', shuffle=True),
    collate_fn=dict(type='mmwamim.collate_images'),
    dataset=dict(
        type='mmwamim.ClassFolders',
        data_root='data/imagenet',
        data_prefix='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mmwamim.collate_images'),
    dataset=dict(
        type='mmwamim.ClassFolders',
        data_root='data/imagenet',
        data_prefix='val',
        pipeline=test_pipeline))
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
