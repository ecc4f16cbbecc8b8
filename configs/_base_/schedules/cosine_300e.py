# 300 epochs: linear warm-up over 30, then cosine to 0, both a step at a time.
train_cfg = dict(type='mmwamim.ResumableTrainLoop', max_epochs=300)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=30,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=270,
        eta_min=0.,
        by_epoch=True,
        begin=30,
        end=300,
        convert_to_iter_based=True),
]
