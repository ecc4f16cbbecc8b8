import torch

import mmwamim  # noqa: F401  (before mmpretrain, which transformers 5 would break)

# The models are tiny: more threads than free cores make them a hundred times slower, not faster.
torch.set_num_threads(1)
