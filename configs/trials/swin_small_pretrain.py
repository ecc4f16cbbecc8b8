"""WaMIM with a small Swin on a folder of photographs: minutes on a CPU.

Run:    python tools/train.py configs/trials/swin_small_pretrain.py --data COCO100/train2017
"""
_base_ = [
    '../_base_/models/wamim_swin_b.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/adamw_2048_swin.py',
    '../_base_/schedules/cosine_100e.py',
    '../_base_/runtime/pretrain.py',
]
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, embed_dims=48, depths=[2, 2, 4, 2], num_heads=[2, 4, 8, 16])),
    neck=dict(embed_dims=64, num_heads=4))
train_dataloader = dict(batch_size=25, num_workers=2)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(enable=False, base_batch_size=25)
default_hooks = dict(
    logger=dict(interval=4), checkpoint=dict(interval=1000, save_last=True, max_keep_ckpts=1))
