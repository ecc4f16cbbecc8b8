"""What a forward pass changes besides gradients: moving averages, statistics of norms, queues."""
from typing import List, Tuple

import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseAveragedModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that may be shared out."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def running_state(model: nn.Module) -> List[Tensor]:
    """Tensors of a model that its forward pass may write.

    These are the whole of every moving average (``BaseAveragedModel``), and the buffers of modules
    that save a floating-point one, such as running means and queues. A constant belongs into a
    buffer with ``persistent=False``.
    """
    found: List[Tensor] = []
    averages = [module for module in model.modules() if isinstance(module, BaseAveragedModel)]
    inside = {id(module) for average in averages for module in average.modules()}
    for average in averages:
        found += [*average.parameters(), *average.buffers()]
    for module in model.modules():
        saved = [buffer for name, buffer in module.named_buffers(recurse=False)
                 if name not in module._non_persistent_buffers_set]
        if id(module) not in inside and any(buffer.is_floating_point() for buffer in saved):
            found += saved
    return [local(tensor.detach()) for tensor in found]


def evaluated_model(runner: Runner) -> nn.Module:
    """The model that is validated and saved, without wrapper: the averaged one where ``EMAHook``
    keeps one, the trained one otherwise."""
    averages = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
    if averages:
        return averages[-1]
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


class Snapshot:
    """Values of some tensors, to be put back.

    Args:
        tensors: Written in place between here and :meth:`restore_unless`.
    """

    def __init__(self, tensors: List[Tensor]) -> None:
        self.pairs: List[Tuple[Tensor, Tensor]] = [(tensor, tensor.clone()) for tensor in tensors]

    @torch.no_grad()
    def restore_unless(self, good: Tensor) -> None:
        """Puts the values back where a bool scalar on the device is False, without a read-back."""
        for tensor, before in self.pairs:
            tensor.copy_(torch.where(good.to(tensor.device), tensor, before))
        self.pairs = []
