_base_ = ['./default.py']
custom_hooks = [
    dict(type='mmwamim.EncoderLoadedHook'),
    dict(type='mmwamim.RunSummaryHook'),
    dict(type='mmwamim.ResumeHook'),
    dict(type='mmwamim.PreemptionHook', interval=10),
]
default_hooks = dict(checkpoint=dict(save_best='auto'))
