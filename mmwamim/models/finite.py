"""Losses that are not finite: what they are called, and a check that waits for the device."""
from typing import Dict, Mapping

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


class NonFiniteLoss(RuntimeError):
    """A loss or a gradient is infinite or not a number, on this rank or on another one."""


def name_bad_losses(values: Mapping[str, float]) -> str:
    """'loss_level2 is nan, loss_level3 is inf', or '' where all are finite."""
    return ', '.join(f'{name} is {value:g}' for name, value in values.items()
                     if not abs(value) < float('inf'))


def check_finite(losses: Dict[str, Tensor]) -> None:
    """Raises on all processes together if a loss of any of them is not finite.

    It waits for the device: for training loops of one's own that may. Those of this package keep
    the flag on the device (``GuardedOptimWrapper``) and tell it later (``DeferredInfoHook``).

    Args:
        losses: Scalars by name; those whose name does not hold ``loss`` are reports, not part of
            the sum, and not looked at.

    Raises:
        NonFiniteLoss: Names the losses; the same step on every process.
    """
    losses = {name: value for name, value in losses.items() if 'loss' in name}
    values = torch.stack([loss.detach().float().mean() for loss in losses.values()])
    everywhere = values.isfinite().all().float()
    if get_world_size() > 1:
        all_reduce(everywhere, op='min')
    if not everywhere:
        wrong = name_bad_losses(dict(zip(losses, values.tolist(), strict=True)))
        raise NonFiniteLoss(wrong or 'a loss on another process')
