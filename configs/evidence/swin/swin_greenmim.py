"""GreenMIM with the same small Swin: the last stage alone predicts normalised pixels of 8x8 cells,
with a decoder of 128 wide in its proportion to the last stage."""
_base_ = ['swin_wamim.py']
model = dict(
    backbone=dict(out_indices=(2, )),
    neck=dict(embed_dims=96),
    target_generator=dict(
        _delete_=True, type='mmwamim.PixelTargetGenerator', grid_strides=(8, ), norm='token'),
    head=dict(loss_weights=(1., )))
