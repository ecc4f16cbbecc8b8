"""Biorthogonal wavelets (5/3 taps)."""
_base_ = ['../growing_mask_08.py']
model = dict(target_generator=dict(wavelet='bior2.2'))
