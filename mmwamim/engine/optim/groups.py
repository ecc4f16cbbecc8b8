"""Optimizer groups: parameters with the same settings together, whatever group each was saved in.

MMEngine's constructors make a group of every tensor, hundreds for two distinct settings. A fused
optimizer runs group by group and each scheduler walks all of them, so here equal ones are merged.
"""
from typing import Dict, List, Optional

from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.optim import Optimizer

from mmwamim.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS

# What a group says about its parameters that is no setting of the optimizer: multipliers are in
# its learning rate and weight decay already.
DESCRIPTIONS = ('params', 'param_name', 'param_names', 'places', 'layer_id', 'lr_scale',
                'lr_mult', 'decay_mult')


def merge_groups(groups: List[dict], names: List[str], defaults: dict) -> List[dict]:
    """Merges groups of one parameter that have the same settings.

    Args:
        groups: As for a torch optimizer, in the order in which the constructor met them.
        names: Name of each group's parameter.
        defaults: Settings of the optimizer, for those that a group leaves out.

    Returns:
        One group for each distinct setting, in the order of their first parameters, with
        ``param_names`` and with ``places``, the numbers of the parameters before merging.

    Raises:
        ValueError: A parameter is there twice.
    """
    merged: List[dict] = []
    met: Dict[int, str] = {}
    for place, (group, name) in enumerate(zip(groups, names, strict=True)):
        parameter, = group['params']
        if id(parameter) in met:
            raise ValueError(f'{name} and {met[id(parameter)]} are one parameter, which would be '
                             'optimized twice: set paramwise_cfg.bypass_duplicate=True')
        met[id(parameter)] = name
        settings = {**defaults, **_settings(group)}
        for other in merged:
            if {**defaults, **_settings(other)} == settings:
                break
        else:
            other = {key: value for key, value in group.items() if key != 'param_name'}
            other.update(params=[], param_names=[], places=[])
            merged.append(other)
        other['params'].append(parameter)
        other['param_names'].append(name)
        other['places'].append(place)
    return merged


def _settings(group: dict) -> dict:
    return {key: value for key, value in group.items() if key not in DESCRIPTIONS}


class MergesGroups:
    """Mixin for MMEngine's constructors: equal groups are merged, states of others read back."""

    def add_params(self, params: List[dict], module: nn.Module, prefix: str = '',
                   **inherited) -> None:
        super().add_params(params, module, prefix=prefix, **inherited)
        if prefix == '':  # the whole model has been walked
            names = {id(parameter): name for name, parameter in module.named_parameters()}
            params[:] = merge_groups(params, [names[id(group['params'][0])] for group in params],
                                     self.optimizer_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        wrapper = super().__call__(model)
        optimizer = wrapper.optimizer
        # Built from a config they are ConfigDicts, which an optimizer asks hundreds of times a
        # step, and which answer slowly.
        optimizer.param_groups[:] = [dict(group.items()) for group in optimizer.param_groups]
        optimizer.register_load_state_dict_pre_hook(regroup_state)
        return wrapper


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(MergesGroups, DefaultOptimWrapperConstructor):
    """MMEngine's default constructor with one optimizer group for each distinct setting.

    With ``paramwise_cfg`` that is two where norms and biases do not decay. Optimizer states that
    were saved with a group for every tensor, or with other settings, are read back exactly.

    Args:
        optim_wrapper_cfg: As in MMEngine.
        paramwise_cfg: As in MMEngine.
    """


def saved_order(state: dict, optimizer: Optimizer) -> Optional[List[str]]:
    """Names of the parameters in a saved state, in the order of their numbers in it.

    They are in the state if it was saved with merged groups or with layer-wise decay; otherwise a
    state with a group for every tensor has the order in which the constructor walks the model.

    Returns:
        None if the state or the optimizer does not say.
    """
    groups = state['param_groups']
    if all('param_names' in group for group in groups):
        named = [pair for group in groups
                 for pair in zip(group['params'], group['param_names'], strict=True)]
    elif all('param_name' in group and len(group['params']) == 1 for group in groups):
        named = [(group['params'][0], group['param_name']) for group in groups]
    elif all(len(group['params']) == 1 for group in groups):
        walked = sorted(pair for group in optimizer.param_groups
                        for pair in zip(group['places'], group['param_names'], strict=True))
        named = [(group['params'][0], name)
                 for group, (_, name) in zip(groups, walked, strict=False)]
        if len(groups) != len(walked):
            return None
    else:
        return None
    return [name for _, name in sorted(named)]


def regroup_state(optimizer: Optimizer, state: dict) -> Optional[dict]:
    """A saved optimizer state in the groups of an optimizer that ``merge_groups`` made.

    Moments go to the parameter of the same name. A group takes the settings that all its
    parameters were saved with; where they differ, the optimizer's own stand.

    Args:
        optimizer: Its groups have ``param_names`` and ``places``.
        state: As ``Optimizer.state_dict`` returns it, with any groups.

    Returns:
        A new state, or None where nothing has to be changed or the names are not known.

    Raises:
        ValueError: The state is of other parameters; the message names the first.
    """
    if not all('places' in group for group in optimizer.param_groups):
        return None
    saved = saved_order(state, optimizer)
    if saved is None:
        return None
    wanted = [name for group in optimizer.param_groups for name in group['param_names']]
    differing = sorted(set(saved) ^ set(wanted))
    if differing:
        side = 'model' if differing[0] in saved else 'checkpoint'
        raise ValueError(f"the optimizer's state in the checkpoint is of other parameters: "
                         f'{len(differing)} differ, such as {differing[0]}, which the {side} does '
                         'not have')
    number = {name: index for index, name in enumerate(saved)}
    home = {index: group for group in state['param_groups'] for index in group['params']}
    moments, groups = {}, []
    for group in optimizer.param_groups:
        numbers = [number[name] for name in group['param_names']]
        first = len(groups) and groups[-1]['params'][-1] + 1
        for index, old in enumerate(numbers, start=first):
            if old in state['state']:
                moments[index] = state['state'][old]
        settings = _common_settings([home[old] for old in numbers])
        own = {key: value for key, value in group.items() if key != 'params'}
        groups.append({**own, **settings, 'params': list(range(first, first + len(numbers)))})
    return dict(state, state=moments, param_groups=groups)


def _common_settings(groups: List[dict]) -> dict:
    first = _settings(groups[0])
    return {key: value for key, value in first.items()
            if all(group.get(key) == value for group in groups)}


def regroup_values(values: List[float], state: dict, optimizer: Optimizer) -> List[float]:
    """A value for each saved group, as a scheduler keeps them, to one for each group of now.

    MMEngine keeps one more, for the base settings, behind those of the groups if there are
    several groups.
    """
    saved = saved_order(state, optimizer)
    if saved is None or 'places' not in optimizer.param_groups[0]:
        return values
    group_of = {index: place for place, group in enumerate(state['param_groups'])
                for index in group['params']}
    number = {name: index for index, name in enumerate(saved)}
    regrouped = [values[group_of[number[group['param_names'][0]]]]
                 for group in optimizer.param_groups]
    return regrouped + [values[-1]] * (len(optimizer.param_groups) > 1)


@HOOKS.register_module()
class RegroupHook(Hook):
    """Makes schedulers that were saved with other optimizer groups fit those of now."""

    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
        if optimizer is None or 'optimizer' not in checkpoint:
            return
        for scheduler in checkpoint.get('param_schedulers', []):
            for name in ('base_values', '_last_value'):
                scheduler[name] = regroup_values(scheduler[name], checkpoint['optimizer'],
                                                 optimizer)
