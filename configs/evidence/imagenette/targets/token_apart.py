"""Details as 'token'; the approximation apart, standardised over the image."""
_base_ = ['token.py']
model = dict(target_generator=dict(
    norm='token', approximation_norm='image'))
