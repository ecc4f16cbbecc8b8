"""An optimizer wrapper that never waits for the device, and that no bad step gets past."""
from contextlib import ExitStack, contextmanager
from typing import Dict, Iterator, List, Optional, Union

import torch
from mmengine.dist import all_reduce, all_reduce_params, get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from mmwamim.registry import OPTIM_WRAPPERS

from ..training.running_state import Snapshot, local, running_state

CLIPS = dict(norm={'max_norm', 'norm_type'}, value={'clip_value'})


@OPTIM_WRAPPERS.register_module()
class GuardedOptimWrapper(OptimWrapper):
    """MMEngine's wrapper for training in which nothing waits and nothing bad gets through.

    A step is bad if its loss or its gradient is not finite on any rank. It changes no weight,
    no state of the optimizer and no running state of the model (:func:`running_state`), on any
    rank. That is decided on the device; :class:`DeferredInfoHook` tells it later. Processes
    need not ask each other: a loss that is not finite makes the whole gradient so, which DDP and
    FSDP add up anyway.

    The norm of the gradient is kept on the device with the flag, whether or not anything is
    clipped.

    With ``accumulative_counts`` N, an update takes the mean gradient of the good ones of N steps: a
    bad one is left out on all ranks, and counts neither in the sum nor in its divisor. If none
    is good, there is no update. Under DDP the gradients are added up on each rank and averaged
    over the ranks once an update.

    Optimizers that take ``found_inf`` (torch's own with ``fused=True``) skip a step on the
    device; for others the flag is read, which on a GPU waits for the backward pass.

    Args:
        optimizer: Any torch optimizer.
        accumulative_counts: Steps whose gradients make an update.
        clip_grad: ``dict(max_norm=..., norm_type=2.)`` or ``dict(type='value', clip_value=...)``.
            Nothing is clipped without it.
        dtype: 'bfloat16' for networks under autocast, or None for float32. float16 needs loss
            scaling: MMEngine's ``AmpOptimWrapper``.

    Raises:
        ValueError: ``dtype`` or a field of ``clip_grad`` is unknown.

    Examples:
        >>> optim_wrapper = dict(  # in a config
        ...     type='mmwamim.GuardedOptimWrapper', clip_grad=dict(max_norm=3.),
        ...     optimizer=dict(type='AdamW', lr=1e-3))
        >>> layer = torch.nn.Linear(1, 1)
        >>> wrapper = GuardedOptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.1))
        >>> before = layer.weight.clone()
        >>> wrapper.update_params(layer(torch.tensor([[float('nan')]])).sum())
        >>> bool(wrapper.take_reports()['good']), torch.equal(layer.weight, before)
        (False, True)
    """

    def __init__(self, optimizer: Optimizer, accumulative_counts: int = 1,
                 clip_grad: Optional[dict] = None,
                 dtype: Union[str, torch.dtype, None] = None) -> None:
        super().__init__(optimizer, accumulative_counts)
        self.clip = _check_clip(clip_grad)
        self.cast_dtype = _check_dtype(dtype)
        self.good: Optional[Tensor] = None
        self.norm: Optional[Tensor] = None
        self._running: Optional[List[Tensor]] = None
        self._snapshot = Snapshot([])
        self._sums: Dict[Tensor, Tensor] = {}  # of gradients of good steps, by parameter
        self._num_good: Union[Tensor, float] = 0.
        self._reduce = False  # whether processes must still average the sums

    def take_reports(self) -> Dict[str, Tensor]:
        """Scalars of the last step on the device, the same on all processes: ``good``, bool, and
        if there was an update ``grad_norm``, before clipping."""
        reports = dict(good=self.good, grad_norm=self.norm)
        self.norm = None
        return {name: value for name, value in reports.items() if value is not None}

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast for a forward pass, whose running state can be put back afterwards."""
        if self._running is None:
            self._running = running_state(model)
        self._snapshot = Snapshot(self._running)
        self._reduce = self._accumulative_counts > 1 and hasattr(model, 'no_sync') \
            and not getattr(model, 'find_unused_parameters', False)
        device = next(model.parameters()).device.type
        with ExitStack() as stack:
            if self._reduce:
                stack.enter_context(model.no_sync())
            stack.enter_context(torch.autocast(device, dtype=self.cast_dtype,
                                               enabled=self.cast_dtype is not None))
            yield

    def update_params(self, loss: Tensor, step_kwargs: Optional[dict] = None,
                      zero_kwargs: Optional[dict] = None) -> None:
        """Backward pass and, after the last of the accumulated steps, an update."""
        # 1, but not a number where the loss is not finite: then the whole gradient is neither.
        self.backward(loss * (1 + 0 * loss.detach()))
        if self._accumulative_counts > 1:
            self._add_up()
        if self.should_update():
            self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss as it is: gradients are divided by the number of good steps instead."""
        return loss

    def step(self, **kwargs) -> None:
        """Clips and updates unless the gradient is not finite."""
        if self._accumulative_counts > 1:
            any_good = self._take_mean()
        parameters = self._with_gradient()
        norm = self._norm(parameters)
        good = norm.isfinite()
        if self._accumulative_counts > 1:
            good &= any_good
        else:
            self._report(good)
        self.norm = norm
        if self.clip.get('type') == 'value':
            clip_grad_value_(parameters, self.clip['clip_value'])
        elif self.clip:
            clip_grads_with_norm_(parameters, self.clip['max_norm'], norm)
        if getattr(self.optimizer, '_step_supports_amp_scaling', False):
            self.optimizer.found_inf = (~good).float()
            try:
                self.optimizer.step(**kwargs)
            finally:
                del self.optimizer.found_inf
        elif good:
            self.optimizer.step(**kwargs)

    def _with_gradient(self) -> List[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups
                for parameter in group['params'] if parameter.grad is not None]

    @torch.no_grad()
    def _norm(self, parameters: List[nn.Parameter]) -> Tensor:
        gradients = [parameter.grad for parameter in parameters]
        kind = self.clip.get('norm_type', 2.)
        if len({gradient.device for gradient in gradients}) == 1 \
                and not isinstance(gradients[0], DTensor):  # the same, with less of a host's time
            return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, kind)), kind)
        norm = get_total_norm(gradients, kind)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def _report(self, good: Tensor) -> None:
        self.good = good
        self._snapshot.restore_unless(good)

    @torch.no_grad()
    def _add_up(self) -> None:
        """Moves this step's gradients to the sums, or drops them if any is not finite."""
        parameters = self._with_gradient()
        good = self._norm(parameters).isfinite()
        if self._reduce and get_world_size() > 1:
            agreed = good.float()
            all_reduce(agreed, op='min')
            good = agreed > 0
        for parameter in parameters:
            gradient = parameter.grad
            local(gradient).masked_fill_(~good, 0)
            if parameter in self._sums:
                local(self._sums[parameter]).add_(local(gradient))
            else:
                self._sums[parameter] = gradient
            parameter.grad = None
        self._num_good = self._num_good + good.float()
        self._report(good)

    @torch.no_grad()
    def _take_mean(self) -> Tensor:
        """Puts the mean over good steps, and over processes, where gradients are.

        Returns:
            bool scalar: whether any step was good.
        """
        gradients = [local(gradient) for gradient in self._sums.values()]
        torch._foreach_div_(gradients, self._num_good.clamp(min=1))
        if self._reduce:
            all_reduce_params(gradients, bucket_size_mb=32, op='mean')
        for parameter, gradient in self._sums.items():
            parameter.grad = gradient
        any_good = self._num_good > 0
        self._sums, self._num_good = {}, 0.
        return any_good


def _check_clip(clip_grad: Optional[dict]) -> dict:
    if not clip_grad:
        return {}
    kind = clip_grad.get('type', 'norm')
    if kind not in CLIPS:
        raise ValueError(f"clip_grad.type must be 'norm' or 'value', not {kind!r}")
    fields = set(clip_grad) - {'type'}
    needed = 'max_norm' if kind == 'norm' else 'clip_value'
    wrong = sorted(fields - CLIPS[kind])
    if wrong or needed not in fields:
        raise ValueError(f'clip_grad of type {kind!r} takes {", ".join(sorted(CLIPS[kind]))}, of '
                         f'which {needed} must be given, not {", ".join(sorted(fields)) or "none"}')
    return dict(clip_grad)


def _check_dtype(dtype: Union[str, torch.dtype, None]) -> Optional[torch.dtype]:
    if dtype is None or dtype in ('float32', torch.float32):
        return None
    if dtype in ('bfloat16', torch.bfloat16):
        return torch.bfloat16
    raise ValueError(f"optim_wrapper.dtype must be 'bfloat16' or 'float32', not {dtype!r}: float16 "
                     'needs loss scaling, which AmpOptimWrapper has')
