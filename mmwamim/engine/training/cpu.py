"""What makes training on a CPU faster without changing a result. Nothing else knows of it.

For processors that are not Intel's, the MKL in PyTorch's wheels has no AVX-512 kernels, while
oneDNN, which the wheels hold as well, has them for all: its float32 products were twice as fast
on AMD's Zen 5 (docs/benchmarks.md). PyTorch takes oneDNN for convolutions, and a convolution with
a kernel of 1x1 is a linear layer. On GPUs, on Intel's processors and in other precisions
everything is as it was.
"""
import ctypes
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Iterator, Optional

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmwamim.registry import HOOKS

# Options of glibc's mallopt, from <malloc.h>, and the bytes up to which it raises the second by
# itself; the first is twice as many then.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, USUAL = -1, -3, 2**25
# PyTorch keeps convolutions of smaller inputs than 20,480 values to itself.
SMALLEST = 2**15
plain_linear = F.linear


def keep_memory() -> bool:
    """Makes the process keep the memory that it frees, until :func:`give_memory_back`.

    By default glibc gives large blocks back to the system in every step and asks for them anew,
    and the system clears each page before handing it out: up to a sixth of a step.

    Returns:
        Whether there is such an option (Linux with glibc).
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(M_MMAP_THRESHOLD, 2**30))
    return False


def give_memory_back() -> None:
    """Gives the system what this process has freed and kept, and makes it keep no more: a notebook
    is still there when its run has ended."""
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_TRIM_THRESHOLD, 2 * USUAL)
        library.mallopt(M_MMAP_THRESHOLD, USUAL)
        library.malloc_trim(0)


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
        return plain_linear(x, weight, bias)
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


def switch_linear(fast: bool) -> None:
    """Makes :func:`linear` the ``F.linear`` of this process, and with it of every linear layer of
    any model, or PyTorch's own again."""
    F.linear = linear if fast and onednn_is_faster() else plain_linear


@contextmanager
def fast_linear(fast: bool = True) -> Iterator[None]:
    """Inside it linear layers are :func:`linear` (if ``fast``)."""
    switch_linear(fast)
    try:
        yield
    finally:
        switch_linear(False)


@HOOKS.register_module()
class CPUHook(Hook):
    """What ``tools/train.py`` does for every model that it trains on the CPU: keeps memory, and
    takes :func:`linear` within training steps. Outside of them linear layers are PyTorch's, so that
    features are those of the stock networks to the last bit."""

    def before_train(self, runner: Runner) -> None:
        keep_memory()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        switch_linear(True)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None,
                         outputs=None) -> None:
        switch_linear(False)
