r"""WaMIM in the comparison on CIFAR-10: every second training image, 6 epochs, a small ViT.

Run:    python tools/sweep.py configs/evidence/*.py --data CIFAR10 --frozen (see docs/evidence.md)
Every other file of this folder changes what its name says and nothing else.
"""
_base_ = ['../trials/cifar10_pretrain.py']
model = dict(
    backbone=dict(arch=dict(embed_dims=96, num_heads=3, feedforward_channels=384)),
    neck=dict(embed_dims=32, num_heads=4),  # a third of the encoder's width, as ViT-B has
    target_generator=dict(  # as these runs were made, before docs/evidence.md chose another
        _delete_=True,
        type='mmwamim.WaveletTargetGenerator',
        levels=(1, 2, 3, 4),
        approximation='coarsest',
        norm='token'))
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    dataset=dict(indices=list(range(0, 50000, 2))))  # the same share of every class
auto_scale_lr = dict(base_batch_size=128)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=1,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=5, eta_min=0., by_epoch=True, begin=1, end=6,
         convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6)
