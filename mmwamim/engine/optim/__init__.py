"""The update: optimizers, their groups, and what keeps a bad step out of the weights."""
