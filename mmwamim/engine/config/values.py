"""Finds values of a config that are of the wrong kind or out of range, before anything is built."""
import inspect
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Dict, Optional, Tuple, Union

from mmengine.config import Config

from mmwamim.errors import UserError

PLAIN = (bool, int, float, str, list, tuple, dict, type(None))  # values that a command line gives
KINDS = {bool: 'True or False', int: 'an integer', float: 'a number', str: 'a text',
         Path: 'a path', dict: 'a dict', type(None): 'None'}
# Fields of every run: integers and numbers, with the least value that makes sense.
INTEGERS = {'train_cfg.max_epochs': 1, 'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1,
            **{f'{name}_dataloader.{field}': least for name in ('train', 'val', 'test')
               for field, least in (('batch_size', 1), ('num_workers', 0))},
            'default_hooks.logger.interval': 1, 'randomness.seed': 0}
NUMBERS = ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.weight_decay',
           'optim_wrapper.clip_grad.max_norm', 'auto_scale_lr.base_batch_size')
LARGEST = 2**31 - 1
NAMES = {'log_level': ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'),
         'env_cfg.mp_cfg.mp_start_method': ('fork', 'spawn', 'forkserver')}
DICTS = ('model', 'data_preprocessor', 'train_dataloader', 'val_dataloader', 'test_dataloader',
         'train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'default_hooks', 'randomness',
         'env_cfg', 'auto_scale_lr', 'visualizer', 'log_processor', 'model_wrapper_cfg')
PARTS = tuple(f'{name}_dataloader.{part}' for name in ('train', 'val', 'test')
              for part in ('dataset', 'sampler', 'batch_sampler')) + (
    'model.backbone', 'optim_wrapper.optimizer', 'default_hooks.checkpoint')
TEXTS = ('default_scope', 'work_dir', 'load_from', 'experiment_name', 'launcher')
LISTS = ('custom_hooks', 'param_scheduler', 'val_evaluator', 'test_evaluator')  # or one dict


def check_values(cfg: Config) -> None:
    """Checks the sections of a config, and the fields that every run has.

    Raises:
        UserError: A value is of the wrong kind or out of range; the message gives its place and
            what would be right.

    Examples:
        >>> check_values(Config(dict(train_cfg=dict(max_epochs='ten'))))
        Traceback (most recent call last):
        mmwamim.errors.UserError: train_cfg.max_epochs must be an integer of at least 1, not 'ten'
    """
    for place in (*DICTS, *PARTS):
        if not isinstance(_at(cfg, place), (dict, type(None))):
            raise _wrong(place, 'a dict of fields', _at(cfg, place))
    for name in LISTS:
        value = cfg.get(name)
        if not isinstance(value, (dict, type(None))) and not (
                isinstance(value, (list, tuple)) and all(isinstance(one, dict) for one in value)):
            raise _wrong(name, 'a list of dicts', value)
    for name in TEXTS:
        if not isinstance(cfg.get(name), (str, type(None))):
            raise _wrong(name, 'a text', cfg.get(name))
    if not isinstance(cfg.get('resume'), (bool, type(None))):
        raise _wrong('resume', 'True or False, with the file in load_from', cfg.get('resume'))
    for place, least in INTEGERS.items():
        value = _at(cfg, place)
        if value is not None:
            check_integer(place, value, least)
    for place in NUMBERS:
        value = _at(cfg, place)
        if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)
                                      and value >= 0):
            raise _wrong(place, 'a number of at least 0', value)
    for place, names in NAMES.items():
        value = _at(cfg, place)
        if isinstance(value, str) and value not in names or not isinstance(
                value, (str, int, type(None))):
            raise _wrong(place, f'one of {", ".join(names)}', value)


def check_integer(place: str, value: object, least: int) -> None:
    """Raises UserError unless a value is an integer of at least ``least`` that fits 32 bits.

    Examples:
        >>> check_integer('--workers', -1, 0)
        Traceback (most recent call last):
        mmwamim.errors.UserError: --workers must be an integer of at least 0, not -1
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value <= LARGEST:
        most = f', {LARGEST} at most' if isinstance(value, Integral) and value > LARGEST else ''
        raise _wrong(place, f'an integer of at least {least}{most}', value)


def check_fields(place: str, part: Mapping, cls: type) -> None:
    """Checks the values of a part of a config by the annotations of its class.

    Args:
        place: Of the part in the config.
        part: Its fields.
        cls: Annotations of builtin types, and lists, tuples, dicts and unions of them count;
            others, and values that are no plain ones, are left to the class itself. What other
            packages annotate is not always what they take: there a text alone is refused, which is
            what a slip on a command line becomes.

    Raises:
        UserError: A value is of another kind than annotated.
    """
    hints = _hints(cls)
    for name, value in part.items():
        hint, default, ours = hints.get(name, (Any, None, False))
        if (ours or isinstance(value, str)) and not fits(value, hint, default):
            raise _wrong(f'{place}.{name}', describe(hint), value)


def fits(value: Any, hint: Any, default: Any = inspect.Parameter.empty) -> bool:
    """Whether a value is what an annotation says, as far as that can be told.

    Examples:
        >>> fits('abc', float), fits(1, float), fits([1, 2], Sequence[int]), fits([1], object)
        (False, True, True, True)
    """
    if value is default or not isinstance(value, PLAIN):
        return True
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inside)
    if origin is typing.Literal:
        return value in inside
    if hint in (float, int, bool):  # 1 is a number and 0 is no, as configs write them
        return isinstance(value, (int, float) if hint is float else int)
    if hint in (str, Path):
        return isinstance(value, str)
    if hint is type(None):
        return value is None
    kind = origin or hint
    if kind in (dict, Mapping):
        return isinstance(value, dict)
    if kind in (list, tuple, Sequence, Iterable):
        if not isinstance(value, (list, tuple)):
            return isinstance(value, str) and inside[:1] == (str, )
        return all(fits(one, inside[0]) for one in value) if _of_one_kind(inside) else True
    return True


def _of_one_kind(inside: Tuple[Any, ...]) -> bool:
    return len(inside) == 1 or (len(inside) == 2 and inside[1] is Ellipsis)


def describe(hint: Any) -> str:
    """An annotation in words.

    Examples:
        >>> describe(Optional[float]), describe(Sequence[Union[int, Sequence[int]]])
        ('a number or None', 'a list of an integer or a list of int')
    """
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return ' or '.join(dict.fromkeys(map(describe, inside)))
    if origin is typing.Literal:
        return f'one of {", ".join(map(repr, inside))}'
    kind = origin or hint
    if kind in (list, tuple, Sequence, Iterable):
        one = inside[0] if _of_one_kind(inside) else None
        of = describe(one) if typing.get_origin(one) else getattr(one, '__name__', str(one or ''))
        return f'a list of {of}' if of else 'a list'
    if kind is Mapping:
        return 'a dict'
    return KINDS.get(kind, getattr(kind, '__name__', str(kind)))


def _hints(cls: type) -> Dict[str, Tuple[Any, Any, bool]]:
    """Annotation and default of the constructor's arguments, and whether this package has written
    them; those of parents behind ``**fields`` included, none where they cannot be resolved."""
    found: Dict[str, Tuple[Any, Any, bool]] = {}
    for owner in cls.__mro__ if inspect.isclass(cls) else ():
        if '__init__' not in vars(owner) or owner is object:
            continue
        try:
            hints = typing.get_type_hints(owner.__init__)
        except Exception:  # names that are there for type checkers alone
            return found
        parameters = inspect.signature(owner.__init__).parameters
        for name, parameter in parameters.items():
            ours = owner.__module__.startswith('mmwamim.') and name in hints
            if type(parameter.default) in (int, float):  # says something where nothing else does
                hints.setdefault(name, float)
            if name in hints and parameter.kind in (
                    parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(name, (hints[name], parameter.default, ours))
        if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            break
    return found


def _at(cfg: Config, place: str) -> Optional[Any]:
    """The value at a dotted place; None where there is none."""
    value: Any = cfg
    for name in place.split('.'):
        if not isinstance(value, (dict, Config)):
            return None
        value = value.get(name)
    return value


def _wrong(place: str, right: str, value: object) -> UserError:
    return UserError(f'{place} must be {right}, not {value!r}')
