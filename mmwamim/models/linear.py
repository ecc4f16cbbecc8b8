"""Linear layers at the speed of the processor.

For processors that are not Intel's, the MKL in PyTorch's wheels has no AVX-512 kernels, while
oneDNN, which the wheels hold as well, has them for all: its float32 products were twice as fast
on AMD's Zen 5 (docs/benchmarks.md). PyTorch takes oneDNN for convolutions, and a convolution with
a kernel of 1x1 is a linear layer. On GPUs, on Intel's processors and in other precisions
everything is as it was.
"""
from functools import lru_cache
from pathlib import Path
from typing import Optional

import torch
import torch.nn.functional as F
from mmcv.cnn import Linear as MMCVLinear
from torch import Tensor, nn

# PyTorch keeps convolutions of smaller inputs than 20,480 values to itself.
SMALLEST = 2**15


def linear(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """``F.linear``, by the faster of the CPU's two libraries.

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,), or None.

    Returns:
        (..., out), equal to ``F.linear`` up to the order of summation.
    """
    # What is compiled, exported or traced runs elsewhere; asked first, so that a compiler sees
    # nothing of the rest.
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not _faster(x, weight):
        return F.linear(x, weight, bias)
    # (..., in) -> (1, in, 1, tokens) in channels-last order, which moves nothing. A kernel of one
    # pixel is the same with any dilation; with one, PyTorch takes oneDNN on a single thread too.
    image = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
    out = F.conv2d(image, weight[:, :, None, None], bias, dilation=(2, 1))
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def _faster(x: Tensor, weight: Tensor) -> bool:
    return (x.device.type == 'cpu' and x.dtype == weight.dtype == torch.float32
            and x.numel() >= SMALLEST and onednn_is_faster() and torch.backends.mkldnn.enabled
            and not torch.is_autocast_enabled('cpu'))


@lru_cache(maxsize=1)
def onednn_is_faster() -> bool:
    """Whether this processor has AVX-512 and is not Intel's (Linux; elsewhere False)."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()
            and torch.backends.cpu.get_cpu_capability() == 'AVX512'):
        return False
    try:
        return 'GenuineIntel' not in Path('/proc/cpuinfo').read_text()
    except OSError:
        return False


class Linear(nn.Linear):
    """``nn.Linear`` that trains by :func:`linear`: the same parameters under the same names.

    In evaluation it is the plain layer, so that features are those of the stock networks to the
    last bit.
    """

    def forward(self, x: Tensor) -> Tensor:
        return (linear if self.training else F.linear)(x, self.weight, self.bias)


def use_fast_linear(module: nn.Module) -> int:
    """Makes every ``nn.Linear`` in ``module``, also mmcv's, a :class:`Linear`, in place.

    Returns:
        The number of layers.
    """
    layers = [layer for layer in module.modules() if type(layer) in (nn.Linear, MMCVLinear)]
    for layer in layers:
        layer.__class__ = Linear
    return len(layers)
