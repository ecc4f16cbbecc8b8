"""Daubechies wavelets with four taps."""
_base_ = ['../wamim.py']
model = dict(target_generator=dict(wavelet='db2'))
