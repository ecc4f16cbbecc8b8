"""AdamW with as little of the host's time a step as possible."""
from typing import Callable, Iterable, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from mmwamim.registry import OPTIMIZERS


class GroupLists(NamedTuple):
    """What an update of a group needs, in the order of its parameters."""
    parameters: List[nn.Parameter]
    first_moments: List[Tensor]
    second_moments: List[Tensor]
    counters: List[Tensor]
    """One tensor many times where parameters were updated equally often."""
    distinct_counters: List[Tensor]


@OPTIMIZERS.register_module()
class FusedAdamW(AdamW):
    """torch's ``AdamW(fused=True)``, of which values, states and checkpoints are the same.

    torch gathers the tensors of a step anew each time, and counts the updates of each parameter
    by itself: for hundreds of parameters most of the time that it takes the host. Here the lists
    are kept as long as the same parameters have gradients, and parameters that were updated
    equally often share their counter.

    Args:
        params: As for a torch optimizer, all of one dtype and device.
        lr: Learning rate.
        betas: Of the moving averages of the gradient and of its square.
        eps: Added to the root of the second.
        weight_decay: Decoupled.

    Examples:
        >>> layer = torch.nn.Linear(4, 2)
        >>> optimizer = FusedAdamW(layer.parameters(), lr=1e-3, weight_decay=0.05)
        >>> layer(torch.rand(1, 4)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(self, params: Iterable, lr: float = 1e-3,
                 betas: Tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                         fused=True)
        self._lists: dict = {}
        self._lists_of: Optional[dict] = None  # the state that they belong to
        self.register_state_dict_post_hook(_part_counters)

    @torch.no_grad()
    def step(self, closure: Optional[Callable] = None) -> Optional[Tensor]:
        """An update; none where the attribute ``found_inf``, a float scalar, is 1.

        Args:
            closure: Computes the loss again and returns it.

        Raises:
            ValueError: Parameters of a group differ in dtype or device.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._lists_of is not self.state:  # a checkpoint was loaded
            self._lists, self._lists_of = {}, self.state
        skip = getattr(self, 'found_inf', None)
        for place, group in enumerate(self.param_groups):
            parameters = [p for p in group['params'] if p.grad is not None]
            if parameters:
                self._update(group, self._gather(place, group, parameters), skip)
        return loss

    def _update(self, group: dict, lists: GroupLists, skip: Optional[Tensor]) -> None:
        torch._foreach_add_(lists.distinct_counters, 1)
        torch._fused_adamw_(
            lists.parameters, [p.grad for p in lists.parameters], lists.first_moments,
            lists.second_moments, [], lists.counters, lr=group['lr'], beta1=group['betas'][0],
            beta2=group['betas'][1], weight_decay=group['weight_decay'], eps=group['eps'],
            amsgrad=False, maximize=False, grad_scale=None, found_inf=skip)
        if skip is not None:
            torch._foreach_sub_(lists.distinct_counters, [skip] * len(lists.distinct_counters))

    def _gather(self, place: int, group: dict, parameters: List[nn.Parameter]) -> GroupLists:
        known = self._lists.get(place)
        if known is not None and list(map(id, known.parameters)) == list(map(id, parameters)):
            return known
        if len({(p.dtype, p.device) for p in parameters}) > 1:
            raise ValueError('FusedAdamW: the parameters of a group must have one dtype and one '
                             'device; take AdamW')
        for parameter in group['params']:
            self._prepare(parameter, parameter in self.state)
        counters = [self.state[p]['step'] for p in parameters]
        if len(parameters) == len(group['params']):
            counters = _share_counters(counters)
            for parameter, counter in zip(parameters, counters, strict=True):
                self.state[parameter]['step'] = counter
        distinct = list({id(counter): counter for counter in counters}.values())
        self._lists[place] = GroupLists(
            parameters, [self.state[p]['exp_avg'] for p in parameters],
            [self.state[p]['exp_avg_sq'] for p in parameters], counters, distinct)
        return self._lists[place]

    def _prepare(self, parameter: nn.Parameter, known: bool) -> None:
        """Gives a parameter its own state: a counter that others share would count for them."""
        state = self.state[parameter]
        if known:
            state['step'] = state['step'].clone()
            return
        state['step'] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        for name in ('exp_avg', 'exp_avg_sq'):
            state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)


def _share_counters(counters: List[Tensor]) -> List[Tensor]:
    """The same values, equal ones in one tensor. Reads them back, once after a start."""
    shared: dict = {}
    return [shared.setdefault(value, counter)
            for value, counter in zip(torch.stack(counters).tolist(), counters, strict=True)]


def _part_counters(optimizer: FusedAdamW, state: dict) -> dict:
    """A state to save, in which every parameter has a counter of its own, as torch expects."""
    moments = {index: dict(saved, step=saved['step'].clone())
               for index, saved in state['state'].items()}
    return dict(state, state=moments)
