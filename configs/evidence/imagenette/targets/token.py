"""Zero mean and unit variance over the channels of each position, approximation included."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(
    norm='token'))
