"""Every subband normalised over the positions of an image."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(norm='subband'))
