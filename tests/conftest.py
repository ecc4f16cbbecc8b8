import torch

# The models are tiny: more threads than free cores make them a hundred times slower, not faster.
torch.set_num_threads(1)
