import gc
import resource
import sys
from pathlib import Path

import pytest
import torch
import yapf.yapflib.yapf_api

# Before mmwamim looks for it; processes that tests start do not see it.
sys.path.append(str(Path(sys.prefix, 'transformers')))

import mmwamim  # noqa: F401  (before mmpretrain, which transformers 5 would break)
from mmwamim.engine.training import cpu

# The models are tiny: more threads than free cores make them a hundred times slower, not faster.
torch.set_num_threads(1)
# The first backward of a process looks for devices: after one with fake tensors of a GPU it starts
# threads for these, and no fork of the process (tests.support.processes) could train.
torch.ones(1, requires_grad=True).sum().backward()
# Line breaks in a config's text: seconds of every run, and runs that tests start as a user does,
# in a process of their own, have them.
yapf.yapflib.yapf_api.FormatCode = lambda code, **_: (code, True)
# A process of one step after the other keeps the memory that it frees. This one would grow by the
# peak of each test that trains or measures here, to more than a machine has.
cpu.keep_memory = lambda: False


MUCH = 2 * 2**30  # bytes
IN_USE = dict(bytes=0)  # when memory was given back last


def resident() -> int:
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(autouse=True)
def give_memory_back():
    """What a test freed goes back to the system: models of full size leave gigabytes in cycles and
    in the pieces that the C library keeps, and several processes of tests share one machine. It
    takes half a second, so not where little was added to what modules and caches hold anyway."""
    yield
    if resident() > max(MUCH, IN_USE['bytes'] + MUCH / 4):
        gc.collect()
        cpu.give_memory_back()
        IN_USE['bytes'] = resident()
