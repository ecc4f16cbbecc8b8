r"""Wavelet transforms in PyTorch, equal to PyWavelets.

Pure functions on tensors (..., H, W):

- :func:`dwt2`, :func:`idwt2`, :func:`wavedec2`, :func:`waverec2`: the discrete transform of images;
- :func:`dwtn`, :func:`idwtn`, :func:`wavedecn`, :func:`waverecn`: the same of signals and volumes;
- :func:`wavelet_packet2`, :func:`iwavelet_packet2`, :func:`packet_paths`: wavelet packets;
- :func:`swt2`, :func:`iswt2`: the stationary transform.

Every discrete wavelet and boundary mode of PyWavelets, any leading dimensions. Computed in float32,
also under autocast and for half precision, which is rounded once at the end; in float64 for
float64 data or with ``double=True``. Differentiable as often as wanted; ``torch.compile`` makes one
graph of it, and ``torch.func.vmap`` maps it. docs/wavelets.md has the mathematics and examples.

This package needs torch, NumPy and PyWavelets alone.
"""
from .dwt import Subbands, dwt2, idwt2, wavedec2, waverec2
from .packets import iwavelet_packet2, packet_paths, wavelet_packet2
from .separable import dwtn, idwtn, wavedecn, waverecn
from .stationary import iswt2, swt2

__all__ = [
    'Subbands', 'dwt2', 'dwtn', 'idwt2', 'idwtn', 'iswt2', 'iwavelet_packet2', 'packet_paths',
    'swt2', 'wavedec2', 'wavedecn', 'wavelet_packet2', 'waverec2', 'waverecn'
]
