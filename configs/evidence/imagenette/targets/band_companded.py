"""One constant for each subband, heavy tails bent."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(
    norm='band', compand=0.5))
