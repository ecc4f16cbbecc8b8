# WaMIM with ViT-S/16, which mmpretrain calls 'deit-small' (its own 'small' is another network).
# Every number is explained in docs/method.md.
model = dict(
    type='mmwamim.WaMIM',
    mask_ratio=0.75,
    mask_unit=16,
    shared_mask=False,
    backbone=dict(
        type='mmwamim.MaskedViT',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        in_channels=3,
        out_indices=(2, 5, 8, 11),  # after layers 3, 6, 9, 12
        drop_path_rate=0.,
        out_type='raw'),
    neck=dict(
        type='mmwamim.MultiLevelDecoder', embed_dims=256, num_heads=8, mlp_ratio=4.),
    target_generator=dict(
        type='mmwamim.WaveletTargetGenerator',
        wavelet='haar',
        levels=(2, 3, 4, 5),  # grids 56, 28, 14, 7 at 224 px
        # A cell's mean colour and own details, of finer scales the energy in the cell; all in the
        # images' units, bent like a logarithm above three grey levels. docs/evidence.md says why.
        approximation='all',
        approximation_norm='colour',
        generations=5,
        finer='energy',
        norm='contrast',
        compand=0.05,
        in_channels=3),
    head=dict(
        type='mmwamim.MultiLevelMIMHead',
        loss_weights=(0.8, 0.9, 1.1, 1.2),  # finest level first
        distance='l2'),
    init_cfg=[
        dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Constant', layer='LayerNorm', val=1., bias=0.),
    ])
