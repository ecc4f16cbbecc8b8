"""Stops a step whose loss is not finite before it changes a weight."""
from typing import Dict

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


class NonFiniteLoss(RuntimeError):
    """A loss is infinite or not a number, on this process or on another one."""


def check_finite(losses: Dict[str, Tensor]) -> None:
    """Raises on all processes together if a loss of any of them is not finite.

    Args:
        losses: Scalars by name; those whose name does not hold ``loss`` are reports, not part of
            the sum, and not looked at.

    Raises:
        NonFiniteLoss: Names the losses; the same step on every process.
    """
    losses = {name: value for name, value in losses.items() if 'loss' in name}
    values = torch.stack([loss.detach().float().mean() for loss in losses.values()])
    finite = values.isfinite()
    everywhere = finite.all().float()
    if get_world_size() > 1:
        all_reduce(everywhere, op='min')
    if everywhere:
        return
    wrong = [f'{name} is {value:g}' for name, value, fine in zip(
        losses, values.tolist(), finite.tolist()) if not fine]
    raise NonFiniteLoss(', '.join(wrong) or 'a loss on another process')
