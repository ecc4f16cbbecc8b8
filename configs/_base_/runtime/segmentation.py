_base_ = ['./default.py']
default_scope = 'mmseg'
custom_hooks = [
    dict(type='mmwamim.EncoderLoadedHook'),
    dict(type='mmwamim.RunSummaryHook'),
    dict(type='mmwamim.ResumeHook'),
    dict(type='mmwamim.PreemptionHook', interval=10),
]
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=16000))
env_cfg = dict(cudnn_benchmark=False)
visualizer = dict(type='SegLocalVisualizer', name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)
