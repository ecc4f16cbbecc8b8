"""Details as 'token'; the approximation apart, standardised over the image."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(
    norm='token', approximation_norm='image'))
