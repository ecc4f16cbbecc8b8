"""What a checkpoint must have in common with the run that goes on from it."""
from typing import Dict, List, Optional

from mmengine.runner import Runner
from torch import Tensor, nn

from mmwamim.errors import UserError
from mmwamim.interface.words import option

from .changes import Change


def check_checkpoint(path: str, checkpoint: dict) -> None:
    """Raises unless a file holds all that a run needs to go on.

    Raises:
        UserError: Names what is not there, and what to do with such a file.
    """
    meta = checkpoint.get('meta', {})
    missing = [name for name, there in (
        ('its epoch and step', 'epoch' in meta and 'iter' in meta),
        ('the state of the optimizer', 'optimizer' in checkpoint),
        ('the history of the log', 'message_hub' in checkpoint)) if not there]
    if missing:
        raise UserError(f'cannot resume from {path}: it does not hold {" and ".join(missing)}. '
                        'Give epoch_N.pth, iter_N.pth or preempted.pth; to begin a new run with '
                        f'its weights, use {option("init")}')


def check_same_run(path: str, checkpoint: dict, runner: Runner, model: nn.Module,
                   differ: List[Change], counts: Optional[str], now: str) -> None:
    """Raises where a checkpoint is of another model, optimizer or kind of loop.

    Args:
        path: Of the checkpoint, for the message.
        checkpoint: As it was read, with the weights that are trained in ``state_dict``.
        runner: Of today's run.
        model: Its model without wrapper.
        differ: The fields of the config that differ.
        counts: 'epochs' or 'steps', whichever gave the length of the run; None if unknown.
        now: The same today.

    Raises:
        UserError: Names the fields and parameters.
    """
    wrong = []
    weights = _compare(checkpoint['state_dict'], model)
    if weights:
        wrong.append(_with_fields('the model', differ, ('model.',)) + f'; {weights}')
    optimizers = [change for change in differ if change.field == 'optim_wrapper.optimizer.type'
                  and _bare(change.old) != _bare(change.new)]
    if optimizers:
        wrong.append(_with_fields('the optimizer', optimizers, ('optim_wrapper', )))
    if counts not in (None, now):
        wrong.append(_with_fields(f'the loop, which counted {counts} and now counts {now}', differ,
                                  ('train_cfg.', )))
    if wrong:
        raise UserError(f'cannot resume from {path}, it is of another run: '
                        f'{"; ".join(wrong)}. Take the old settings, or start a new run with '
                        'another work directory')


def _bare(name: object) -> str:
    """The class of an optimizer as far as its state goes: without scope, and fused or not."""
    return str(name).split('.')[-1].strip("'").removeprefix('Fused')


def _with_fields(what: str, differ: List[Change], places: tuple) -> str:
    fields = [str(change) for change in differ if change.field.startswith(places)]
    return f'{what} ({", ".join(fields)})' if fields else what


def _compare(state: Dict[str, Tensor], model: nn.Module) -> str:
    """How the parameters and buffers of a checkpoint and of a model differ, in words."""
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    ours, known = dict(model.named_parameters()), model.state_dict()
    missing = [name for name in ours if name in known and name not in state]
    left_over = [name for name in state if name not in known]
    reshaped = [f'{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}'
                for name, value in known.items()
                if name in state and state[name].shape != value.shape]
    return '; '.join(
        f'{len(names)} parameters {kind} ({", ".join(names[:3])}{", ..." if names[3:] else ""})'
        for kind, names in (('missing in the checkpoint', missing), ('left over', left_over),
                            ('of another shape', reshaped)) if names)
