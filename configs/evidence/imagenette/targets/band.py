"""One constant for each subband."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='band'))
