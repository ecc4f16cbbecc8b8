"""Daubechies wavelets with four taps."""
_base_ = ['../fast.py']
model = dict(target_generator=dict(wavelet='db2'))
