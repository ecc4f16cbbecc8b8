"""Daubechies wavelets with four taps."""
_base_ = ['../growing_mask_08.py']
model = dict(target_generator=dict(wavelet='db2'))
