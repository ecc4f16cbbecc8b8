"""Fourier coefficients in the comparison on CIFAR-10: spectra of cells of 2, 4, 8 and 16 px,
real and imaginary parts."""
_base_ = ['wamim.py']
model = dict(target_generator=dict(
    _delete_=True, type='mmwamim.FourierTargetGenerator', grid_strides=(2, 4, 8, 16)))
