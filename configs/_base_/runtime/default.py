# What every run shares; the other files of this folder change what differs.
default_scope = 'mmpretrain'

default_hooks = dict(
    # Losses stay on the device until they are logged; bad steps stop the run there.
    runtime_info=dict(type='mmwamim.DeferredInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Files are written beside, flushed and renamed: a kill loses none.
    checkpoint=dict(type='mmwamim.AtomicCheckpointHook', interval=1, max_keep_ckpts=3),
    regroup=dict(type='mmwamim.RegroupHook'),  # checkpoints with other optimizer groups
    sampler_seed=dict(type='DistSamplerSeedHook'))

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))  # tools/train.py makes it gloo where there is no GPU

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='mmpretrain.UniversalVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
# Every process draws its own masks and crops.
randomness = dict(seed=0, diff_rank_seed=True)
