# As for ViT, at base lr 1e-4.
_base_ = ['./adamw_2048_vit.py']
optim_wrapper = dict(optimizer=dict(lr=1e-4 * 2048 / 256))
