"""HOG of cells of 2, 4, 8 and 16 px, levels weighted equally, as LocalMIM; layers and decoders are
WaMIM's, so that the target alone differs."""
_base_ = ['wamim.py']
model = dict(
    target_generator=dict(
        _delete_=True, type='mmwamim.HOGTargetGenerator', grid_strides=(2, 4, 8, 16)),
    head=dict(loss_weights=(1., 1., 1., 1.)))
