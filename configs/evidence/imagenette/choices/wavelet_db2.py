"""Daubechies wavelets with four taps."""
_base_ = ['../growing_partial.py']
model = dict(target_generator=dict(wavelet='db2'))
