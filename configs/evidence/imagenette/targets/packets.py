"""Wavelet packets of the four depths, the 4 x 4 lowest frequencies, as contrasts."""
_base_ = ['token.py']
model = dict(
    target_generator=dict(
        _delete_=True, type='mmwamim.WaveletPacketTargetGenerator', levels=(1, 2, 3, 4)))
