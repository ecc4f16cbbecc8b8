"""Biorthogonal wavelets (5/3 taps)."""
_base_ = ['../growing_partial.py']
model = dict(target_generator=dict(wavelet='bior2.2'))
