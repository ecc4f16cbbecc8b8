"""One constant for each subband."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(
    norm='band'))
