"""Multi-level normalised pixels: cells of 2, 4, 8 and 16 px."""
_base_ = ['wamim.py']
model = dict(target_generator=dict(
    _delete_=True, type='mmwamim.PixelTargetGenerator', grid_strides=(2, 4, 8, 16), norm='token'))
