"""The optimizer's state of a checkpoint under today's settings, matched by parameter name."""
from typing import Dict, List, Optional

from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmwamim.errors import UserError


def parameter_names(model: nn.Module, wrapper: OptimWrapper) -> List[str]:
    """The names of the optimizer's parameters, in the order of its state dict."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in wrapper.optimizer.param_groups
            for parameter in group['params']]


def stored_names(checkpoint: dict, model: nn.Module) -> Optional[List[str]]:
    """The names that belong to a checkpoint's optimizer state, in its order; None if unknown.

    Older checkpoints do not hold them: there the parameters are in the order of the model, unless
    layer-wise decay has left its names in the groups.
    """
    names = checkpoint.get('parameter_names')
    if names is not None:
        return names
    groups = checkpoint['optimizer']['param_groups']
    if all('param_names' in group for group in groups):  # groups of several parameters
        return [name for group in groups for name in group['param_names']]
    if all('param_name' in group for group in groups):
        return [group['param_name'] for group in groups]
    parameters = dict(model.named_parameters())
    trained = [name for name, parameter in parameters.items() if parameter.requires_grad]
    count = sum(len(group['params']) for group in groups)
    return next((names for names in (trained, list(parameters)) if len(names) == count), None)


def carry_moments(checkpoint: dict, model: nn.Module, wrapper: OptimWrapper) -> List[str]:
    """Rewrites a checkpoint's optimizer state, in place, for today's optimizer.

    Momentum and second moments come from the checkpoint; learning rates, weight decay, betas and
    every other setting of the groups from today's optimizer.

    Args:
        checkpoint: With ``optimizer``, as MMEngine wrote it.
        model: Without wrapper.
        wrapper: Today's optimizer, at the settings with which the run goes on.

    Returns:
        The parameters whose state starts anew: they were not trained before.

    Raises:
        UserError: The state cannot be matched with today's parameters.
    """
    saved = checkpoint['optimizer']
    names = stored_names(checkpoint, model)
    if names is None:
        raise UserError('the optimizer state of the checkpoint has '
                        f'{len(saved["state"])} parameters, which cannot be told apart by name: '
                        'resume with the config of the run (optim_wrapper.paramwise_cfg and '
                        'model.backbone.frozen_stages)')
    by_name: Dict[str, dict] = {name: saved['state'][index] for index, name in enumerate(names)
                                if index in saved['state']}
    today = wrapper.state_dict()
    ours = parameter_names(model, wrapper)
    parameters = dict(model.named_parameters())
    state, new = {}, []
    for index, name in enumerate(ours):
        if name in by_name:
            _check_shapes(name, by_name[name], parameters[name])
            state[index] = by_name[name]
        elif parameters[name].requires_grad and by_name:
            new.append(name)
    carried = {key: value for key, value in today.items() if key != 'loss_scaler'}
    carried['state'] = state
    if 'loss_scaler' in saved and 'loss_scaler' in today:  # of mixed precision in float16
        carried['loss_scaler'] = saved['loss_scaler']
    checkpoint['optimizer'] = carried
    return new


def _check_shapes(name: str, state: dict, parameter: Tensor) -> None:
    for kind, value in state.items():
        if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
            raise UserError(f'{kind} of {name} has the shape {tuple(value.shape)} in the '
                            f'checkpoint, the parameter {tuple(parameter.shape)}')
