import torch

import mmwamim  # noqa: F401  (before mmpretrain, which transformers 5 would break)
from mmwamim.engine.training import cpu

# The models are tiny: more threads than free cores make them a hundred times slower, not faster.
torch.set_num_threads(1)
# A process of one step after the other keeps the memory that it frees. This one would grow by the
# peak of each test that trains or measures here, to more than a machine has.
cpu.keep_memory = lambda: False
