"""What calls from Python are given: each argument of its kind, before anything is done with it."""
import dataclasses
import functools
import inspect
import operator
import os
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, TypeVar, Union

from mmwamim.errors import UserError
from mmwamim.interface.outputs import at_home
from mmwamim.interface.words import option

Call = TypeVar('Call', bound=Callable)
WORDS = {bool: 'True or False', int: 'an integer', float: 'a number', str: 'a text',
         Path: 'a path', type(None): 'None'}
SEVERAL = {int: 'integers', float: 'numbers', str: 'texts', Path: 'paths'}


class _OtherKind(Exception):
    """A value is not what an annotation says."""


def settles_arguments(function: Call) -> Call:
    """Gives a call its arguments as :func:`settled` by its annotations, takes ``~`` for the home
    folder in paths, and makes those that it gives back absolute: they are valid in whatever folder
    the caller is later on."""
    signature = inspect.signature(function)
    hints = functools.cache(lambda: typing.get_type_hints(function))  # not before the first call

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            bound = signature.bind(*arguments, **keywords)
        except TypeError:
            bound = None
        if bound is None:
            return function(*arguments, **keywords)  # Python says what is missing or too much
        for name, value in bound.arguments.items():
            if name == 'out' and str(value) == '':  # as of a shell's variable that is not set
                raise UserError(f"{option(name)} is empty (''): give a path")
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = {key: at_home(one) for key, one in value.items()}
            else:
                bound.arguments[name] = at_home(settled(name, value, hints().get(name, Any)))
        return _absolute(function(*bound.args, **bound.kwargs))

    return call


def settled(name: str, value: Any, hint: Any) -> Any:
    """An argument as its annotation says: an integer of NumPy or torch as ``int``, any path of the
    system as ``Path``, an array as a list.

    Raises:
        UserError: It is of another kind; ``name`` and what would be right are in the message.

    Examples:
        >>> settled('k', range(2), Sequence[int])
        [0, 1]
        >>> settled('epochs', 2.5, int)
        Traceback (most recent call last):
        mmwamim.errors.UserError: epochs must be an integer, not 2.5
    """
    try:
        return _settled(value, hint)
    except _OtherKind:
        raise UserError(f'{name} must be {describe(hint)}, not {value!r:.80}') from None


def plain(value: Any) -> Any:
    """Numbers and arrays of NumPy and torch as Python's, paths as texts, in lists and dicts, too:
    what a config can be written down with.

    Examples:
        >>> plain(dict(sizes=(3, Path('a'))))
        {'sizes': (3, 'a')}
    """
    if isinstance(value, dict):
        return type(value)({key: plain(one) for key, one in value.items()})
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    if isinstance(value, Path):
        return str(value)
    return value.tolist() if _is_array(value) else value


def describe(hint: Any) -> str:
    """An annotation in words, None left out.

    Examples:
        >>> describe(Union[int, None]), describe(Union[str, Path, Sequence[str]])
        ('an integer', 'a path or a list of texts')
    """
    kinds = [kind for kind in _alternatives(hint) if kind is not type(None)]
    if Path in kinds:
        kinds = [kind for kind in kinds if kind is not str]
    words = []
    for kind in kinds:
        if typing.get_origin(kind) is Sequence:
            inside = _alternatives(typing.get_args(kind)[0])
            words.append(f'a list of {SEVERAL[Path if Path in inside else inside[0]]}')
        else:
            words.append(WORDS.get(kind) or f'a {kind.__name__}')
    return ' or '.join(words)


def _settled(value: Any, hint: Any) -> Any:
    if _is_array(value):
        value = value.tolist()
    for kind in _alternatives(hint):
        try:
            return _as_kind(value, kind)
        except _OtherKind:
            continue
    raise _OtherKind


def _as_kind(value: Any, kind: Any) -> Any:
    """A value as one kind of those of an annotation, if it is of that."""
    if typing.get_origin(kind) is Sequence:
        if isinstance(value, (list, tuple, range)):
            return [_settled(one, typing.get_args(kind)[0]) for one in value]
    elif kind is bool:
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
    elif kind is int:
        if not isinstance(value, bool):
            try:
                return operator.index(value)
            except TypeError:
                pass
    elif kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
    elif kind is Path:
        if isinstance(value, (bytes, os.PathLike)):
            return value if isinstance(value, Path) else Path(os.fsdecode(value))
    elif kind is Any or isinstance(value, typing.get_origin(kind) or kind):
        return value
    raise _OtherKind


def _alternatives(hint: Any) -> tuple:
    """The kinds of a union, those in it included, or the one kind that there is."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        return tuple(kind for one in typing.get_args(hint) for kind in _alternatives(one))
    return (hint, )


def _is_array(value: Any) -> bool:
    """Whether a value is an array or number of NumPy, or a tensor."""
    return hasattr(value, 'dtype') and hasattr(value, 'tolist')


def _absolute(found: Any) -> Any:
    if isinstance(found, Path):
        return found.absolute()
    if isinstance(found, (list, tuple)):
        return type(found)(map(_absolute, found))
    if dataclasses.is_dataclass(found):
        return dataclasses.replace(found, **{
            one.name: _absolute(getattr(found, one.name)) for one in dataclasses.fields(found)
            if isinstance(getattr(found, one.name), (Path, tuple))})
    return found
