"""Zero mean and unit variance over the channels of each position, approximation included: the first
reconstruction of the paper's "normalized"."""
_base_ = ['../wamim.py']
model = dict(
    target_generator=dict(
        _delete_=True,
        type='mmwamim.WaveletTargetGenerator',
        levels=(1, 2, 3, 4),
        approximation='coarsest',
        norm='token'))
