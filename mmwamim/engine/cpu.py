"""What makes training on a CPU faster without changing a result."""
import ctypes

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwamim.models.linear import onednn_is_faster, use_fast_linear
from mmwamim.registry import HOOKS

# Options of glibc's mallopt, from <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_memory() -> bool:
    """Makes the process keep the memory that it frees, for the rest of its life.

    By default glibc gives large blocks back to the system in every step and asks for them anew,
    and the system clears each page before handing it out: up to a sixth of a step.

    Returns:
        Whether there is such an option (Linux with glibc).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(M_MMAP_THRESHOLD, 2**30))


@HOOKS.register_module()
class CPUHook(Hook):
    """What ``tools/train.py`` does for every model that it trains on the CPU: keeps memory, and
    takes the linear layers that our encoders and decoders have (:mod:`mmwamim.models.linear`)."""

    def before_train(self, runner: Runner) -> None:
        keep_memory()
        if onednn_is_faster():
            use_fast_linear(runner.model)
