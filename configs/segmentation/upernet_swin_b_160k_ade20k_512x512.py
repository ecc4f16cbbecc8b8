r"""UperNet with Swin-B on ADE20K: 160k steps, batch 16 = 8 x 2.

Run:    tools/dist_train.sh configs/segmentation/upernet_swin_b_160k_ade20k_512x512.py 8 \
            --pretrained work_dirs/swin_b_400e/encoder.pth
The paper has no such row; recipe of ViT-B, layer-wise decay 0.8 as in our fine-tuning of Swin-B.
"""
_base_ = [
    '../_base_/models/upernet.py',
    '../_base_/datasets/ade20k_512.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/runtime/segmentation.py',
]
model = dict(
    backbone=dict(
        type='mmpretrain.SwinTransformer',
        arch='base',
        img_size=512,
        window_size=7,
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.1,
        pad_small_map=True,
        init_cfg=dict(
            type='Pretrained', checkpoint='work_dirs/swin_b_400e/encoder.pth',
            prefix='backbone.')),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
