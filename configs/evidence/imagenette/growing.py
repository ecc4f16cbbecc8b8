"""Growing resolution: 64 px for half of the epochs, 80 px up to four fifths, then 96 px."""
_base_ = ['wamim.py']
default_hooks = dict(
    resolution=dict(
        type='mmwamim.ResolutionScheduleHook', sizes=(64, 80, 96), until=(0.5, 0.8, 1.0)))
