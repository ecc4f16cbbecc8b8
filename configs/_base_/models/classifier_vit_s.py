# As ViT-B; ViT-S/16 is 'deit-small' in mmpretrain.
_base_ = ['./classifier_vit_b.py']
model = dict(
    backbone=dict(
        arch='deit-small', init_cfg=dict(checkpoint='work_dirs/vit_s_300e/encoder.pth')),
    head=dict(in_channels=384))
