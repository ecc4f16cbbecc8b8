"""One constant for each subband, heavy tails bent."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='band', compand=0.5))
