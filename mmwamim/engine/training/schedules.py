"""Schedules of today's config at a point of the run, as if it had been reached with them."""
import warnings
from copy import copy
from types import SimpleNamespace
from typing import List, Tuple

from mmengine.optim import OptimWrapper, _ParamScheduler


def play(schedulers: List[_ParamScheduler], wrapper: OptimWrapper, epochs: int, steps: int,
         steps_an_epoch: int) -> None:
    """Steps newly built schedulers up to a point, and with them the settings of the optimizer.

    MMEngine's schedulers compute a value from the one before, so they are stepped one by one, in
    the order of training: the values are those of a run, to the bit. Parameter groups with the
    same settings are stepped once.

    Args:
        schedulers: As built, not stepped yet, in the order of the config.
        wrapper: The optimizer that they change.
        epochs: Epochs that have ended.
        steps: Steps that were done in all.
        steps_an_epoch: Steps of one epoch.
    """
    groups = wrapper.param_groups
    names = {name for scheduler in schedulers
             for name in (scheduler.param_name, f'initial_{scheduler.param_name}', 'betas')}
    kinds: List[Tuple] = []
    kind_of = []
    for group in groups:
        kind = tuple(group.get(name) for name in sorted(names))
        if kind not in kinds:
            kinds.append(kind)
        kind_of.append(kinds.index(kind))
    first = [kind_of.index(kind) for kind in range(len(kinds))]
    stand_in = SimpleNamespace(param_groups=[dict(groups[index]) for index in first],
                               step=wrapper.optimizer.step, _global_step=0)
    whole = [scheduler.base_values for scheduler in schedulers]
    for scheduler, values in zip(schedulers, whole):
        scheduler.optimizer, scheduler.base_values = stand_in, [values[index] for index in first]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # that no optimizer has been stepped in between
            _step(schedulers, epochs, steps, steps_an_epoch)
    finally:
        for scheduler, values in zip(schedulers, whole):
            scheduler.optimizer, scheduler.base_values = wrapper, values
    for group, kind in zip(groups, kind_of):
        group.update({name: stand_in.param_groups[kind][name] for name in names if name in group})
    for scheduler in schedulers:
        scheduler._last_value = [scheduler._last_value[kind] for kind in kind_of]


def last_rate(schedulers: List[_ParamScheduler], wrapper: OptimWrapper, start: int, steps: int,
              steps_an_epoch: int) -> float:
    """The highest learning rate of any parameter in the last step of a run.

    Args:
        schedulers: At step ``start``; they stay there.
        wrapper: Their optimizer, which is left as it is.
        start: Steps that are done.
        steps: Steps of the run in all.
        steps_an_epoch: Steps of one epoch.
    """
    rates = [group['lr'] for group in wrapper.optimizer.param_groups]
    fastest = rates.index(max(rates))
    stand_in = SimpleNamespace(param_groups=[dict(wrapper.param_groups[fastest])],
                               step=wrapper.optimizer.step, _global_step=0)
    alone = []
    for scheduler in schedulers:
        if scheduler.param_name == 'lr':
            alone.append(copy(scheduler))
            alone[-1].optimizer = stand_in
            alone[-1].base_values = [scheduler.base_values[fastest]]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        _step(alone, steps, steps - 1, steps_an_epoch, start)
    return stand_in.param_groups[0]['lr']


def _step(schedulers: List[_ParamScheduler], epochs: int, steps: int, steps_an_epoch: int,
          start: int = 0) -> None:
    each_step = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    each_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    for done in range(start + 1, steps + 1):
        for scheduler in each_step:
            scheduler.step()
        if done % steps_an_epoch == 0 and done // steps_an_epoch <= epochs:
            for scheduler in each_epoch:
                scheduler.step()
