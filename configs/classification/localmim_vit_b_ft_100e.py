r"""Fine-tuning of ViT-B/16 on ImageNet-1K as LocalMIM's authors did after 100 epochs: 100 epochs,
batch 1024 = 8 x 128.

Run:    tools/dist_train.sh configs/classification/localmim_vit_b_ft_100e.py 8 \
            --pretrained work_dirs/localmim_vit_b_100e/encoder.pth
Source: Wang et al., "Masked Image Modeling with Local Multi-Scale Reconstruction", CVPR 2023.
Official code: Haoqing-Wang/LocalMIM, ViT: rate 4e-3 whatever the batch, layer-wise decay 0.75, 20
epochs of warm-up, random erasing 0.25. After 1600 epochs of pre-training it takes 2e-3, 0.65 and an
end of 1e-5.
Published, not measured here: 83.3 top-1 after pre-training with localmim_vit_b_100e.
"""
_base_ = ['./mae_vit_b_ft_100e.py']
optim_wrapper = dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(layer_decay_rate=0.75))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=20,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=80, eta_min_ratio=1e-6 / 4e-3, by_epoch=True, begin=20,
         end=100, convert_to_iter_based=True),
]
