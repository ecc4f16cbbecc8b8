r"""Fine-tuning in the comparison on CIFAR-10: every tenth labelled image, 5 epochs.

Run:    python tools/train.py configs/evidence/finetuning/cifar10.py --data CIFAR10 \
            --pretrained encoder.pth
"""
_base_ = ['../../trials/cifar10_finetune.py']
model = dict(
    backbone=dict(arch=dict(embed_dims=96, num_heads=3, feedforward_channels=384)),
    head=dict(in_channels=96))
train_dataloader = dict(num_workers=1, dataset=dict(indices=list(range(0, 50000, 10))))
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
train_cfg = dict(max_epochs=5, val_interval=5)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=1,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=4, eta_min=0., by_epoch=True, begin=1, end=5,
         convert_to_iter_based=True),
]
