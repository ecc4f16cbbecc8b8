# WaMIM with ViT-S/16, which mmpretrain calls 'deit-small' (its own 'small' is another network).
_base_ = ['./wamim_vit_b.py']
model = dict(backbone=dict(arch='deit-small'))
