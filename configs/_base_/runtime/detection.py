_base_ = ['./default.py']
default_scope = 'mmdet'
custom_hooks = [
    dict(type='mmwamim.EncoderLoadedHook'),
    dict(type='mmwamim.RunSummaryHook'),
    dict(type='mmwamim.ResumeHook'),
    dict(type='mmwamim.PreemptionHook', interval=10),
]
default_hooks = dict(logger=dict(interval=50))
env_cfg = dict(cudnn_benchmark=False)  # images differ in size
visualizer = dict(type='DetLocalVisualizer', name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
