r"""Mask R-CNN with the small Swin on 24 images of COCO, evaluated on the same: does it learn them?

Run:    python tools/train.py configs/trials/mask_rcnn_swin_small_coco100.py --data COCO100 \
            --pretrained work_dirs/swin_small_pretrain/encoder.pth
"""
_base_ = [
    '../_base_/models/mask_rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_3x.py',
    '../_base_/runtime/detection.py',
]
train_pipeline = [
    dict(type='mmwamim.LoadImage'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(448, 336), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='mmwamim.LoadImage'),
    dict(type='Resize', scale=(448, 336), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        # With the labels, since AP is counted over these images alone.
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')),
]
model = dict(
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
    neck=dict(in_channels=[48, 96, 192, 384], out_channels=96),
    rpn_head=dict(in_channels=96, feat_channels=96),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=96),
        bbox_head=dict(in_channels=96, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=96),
        mask_head=dict(in_channels=96, conv_out_channels=96)),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200), rcnn=dict(sampler=dict(num=96))),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100)))
data_root = 'data/coco100'
train_dataloader = dict(
    num_workers=1,
    dataset=dict(data_root=data_root, indices=24, pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        data_root=data_root,
        indices=24,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        test_mode=False,  # the images that were trained on, so the same filter
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=None)  # AP over the 24 images alone
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(lr=4e-4), clip_grad=dict(max_norm=10.))
auto_scale_lr = dict(enable=False)
train_cfg = dict(max_epochs=60, val_interval=20)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=60, milestones=[45, 55], gamma=0.1),
]
default_hooks = dict(
    logger=dict(interval=12), checkpoint=dict(interval=1000, save_last=True, max_keep_ckpts=1))
