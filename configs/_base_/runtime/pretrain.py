_base_ = ['./default.py']
# Checkpoints are written beside, flushed and renamed: a kill loses none.
default_hooks = dict(checkpoint=dict(backend_args=dict(backend='atomic')))
custom_hooks = [
    dict(type='mmwamim.RunSummaryHook'),
    dict(type='mmwamim.ResumeHook'),
    dict(type='mmwamim.PreemptionHook', interval=10),
    dict(type='mmwamim.DataWaitHook'),
    dict(type='mmwamim.EncoderExportHook'),
]
