# A classifier on the mean of the last stage's tokens of a pre-trained encoder.
model = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(
        type='mmpretrain.SwinTransformer',
        arch='base',
        img_size=224,
        window_size=7,
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/swin_b_400e/encoder.pth', prefix='backbone.')),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(
        type='mmpretrain.LinearClsHead',
        num_classes=1000,
        in_channels=1024,
        loss=dict(
            type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=[dict(type='TruncNormal', layer='Linear', std=2e-5)]),
    train_cfg=dict(augments=[
        dict(type='mmpretrain.Mixup', alpha=0.8),
        dict(type='mmpretrain.CutMix', alpha=1.0),
    ]))
