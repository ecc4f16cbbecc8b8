# 100 epochs: linear warm-up over 10, then cosine to 0, both a step at a time.
train_cfg = dict(type='mmwamim.ResumableTrainLoop', max_epochs=100)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=90,
        eta_min=0.,
        by_epoch=True,
        begin=10,
        end=100,
        convert_to_iter_based=True),
]
