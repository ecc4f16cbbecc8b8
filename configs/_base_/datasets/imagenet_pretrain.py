# ImageNet, or any folder of images nested or not: labels are not read. A folder with a
# sub-folder train/ stands for that sub-folder. Set another with `--data FOLDER`.
data_preprocessor = dict(
    type='mmwamim.ImagePreprocessor',  # mmpretrain's, which does not wait for the device
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True)

# Decoding, crop, flip and packing without a copy in between; resized bicubically, antialiased.
# Images go to the device as uint8 and are normalised there.
train_pipeline = [
    dict(type='mmwamim.LoadImage'),
    dict(type='mmwamim.RandomCropToTensor', size=224, scale=(0.2, 1.0), flip=0.5),
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
        type='mmwamim.UnlabelledImages',
        data_root='data/imagenet',
        pipeline=train_pipeline))
