_base_ = ['./default.py']
custom_hooks = [
    dict(type='mmwamim.RunSummaryHook'),
    dict(type='mmwamim.ResumeHook'),
    dict(type='mmwamim.PreemptionHook', interval=10),
    dict(type='mmwamim.DataWaitHook'),
    dict(type='mmwamim.EncoderExportHook'),
]
