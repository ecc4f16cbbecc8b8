# 400 epochs: linear warm-up over 40, then cosine to 0, both a step at a time.
train_cfg = dict(type='mmwamim.ResumableTrainLoop', max_epochs=400)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=40,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=360,
        eta_min=0.,
        by_epoch=True,
        begin=40,
        end=400,
        convert_to_iter_based=True),
]
