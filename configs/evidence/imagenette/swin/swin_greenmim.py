"""GreenMIM with the same small Swin: the last stage alone predicts normalised pixels of 16x16
cells, with a decoder of one block in its proportion to the last stage, one half."""
_base_ = ['swin_wamim.py']
model = dict(
    backbone=dict(out_indices=(3, )),
    neck=dict(embed_dims=128, num_heads=4),
    target_generator=dict(
        _delete_=True, type='mmwamim.PixelTargetGenerator', grid_strides=(16, ), norm='token'),
    head=dict(loss_weights=(1., )))
