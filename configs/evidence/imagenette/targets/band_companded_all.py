"""One constant for each subband, heavy tails bent, approximations on every level."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='band', compand=0.5, approximation='all'))
