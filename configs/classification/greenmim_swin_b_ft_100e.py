r"""Fine-tuning of Swin-B on ImageNet-1K as GreenMIM's authors did: 100 epochs, batch 768 = 8 x 96.

Run:    tools/dist_train.sh configs/classification/greenmim_swin_b_ft_100e.py 8 \
            --pretrained work_dirs/greenmim_swin_b_800e/encoder.pth
Source: Huang et al., "Green Hierarchical Vision Transformer for Masked Image Modeling",
NeurIPS 2022.
Official code: LayneH/GreenMIM, greenmim_finetune_swin_base_img224_win7.yaml for SimMIM's code:
layer-wise decay 0.9, the rest is SimMIM's at another batch.
Published, not measured here: 83.7 top-1 after pre-training with greenmim_swin_b_800e.
"""
_base_ = ['./simmim_swin_b_ft_100e.py']
train_dataloader = dict(batch_size=96)
optim_wrapper = dict(
    optimizer=dict(lr=1.25e-3 * 768 / 512), paramwise_cfg=dict(layer_decay_rate=0.9))
auto_scale_lr = dict(base_batch_size=768)
param_scheduler = [
    dict(type='LinearLR', start_factor=2e-4, by_epoch=True, begin=0, end=20,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=80, eta_min=2.5e-7 * 768 / 512, by_epoch=True, begin=20,
         end=100, convert_to_iter_based=True),
]
