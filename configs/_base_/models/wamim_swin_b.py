# WaMIM with Swin-B, window 7, visible tokens only in every stage. For Swin-T, -S or -L change
# arch to 'tiny', 'small' or 'large'. Every number is explained in docs/method.md.
model = dict(
    type='mmwamim.WaMIM',
    mask_ratio=0.75,
    mask_unit=32,
    shared_mask=True,  # one mask for all images of a process's batch
    backbone=dict(
        type='mmwamim.SparseSwin',
        arch='base',
        img_size=224,
        patch_size=4,
        in_channels=3,
        window_size=7,
        out_indices=(0, 1, 2, 3),  # the four stages, after patch merging: strides 8, 16, 32, 32
        drop_path_rate=0.),
    neck=dict(
        type='mmwamim.MultiLevelDecoder', embed_dims=128, num_heads=4, mlp_ratio=4.),
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
