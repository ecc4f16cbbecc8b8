"""The config that a checkpoint carries, read as values: whoever made the file runs nothing here."""
import ast
from contextlib import suppress
from pathlib import Path
from typing import Any, Container, Optional, Set, Union

from mmengine.config import Config
from mmpretrain.registry import BATCH_AUGMENTS  # has no parent

from mmwamim.errors import UserError
from mmwamim.interface.words import option

from .check import REGISTRIES, typed

NUMBERS = dict(inf=float('inf'), nan=float('nan'))
# Looked at first: the packages of others are slow to import, and may be broken.
OWN_SCOPES = ('mmengine', 'mmpretrain', 'mmwamim')


def config_of_text(text: object, path: Union[str, Path]) -> Config:
    """The config whose ``pretty_text`` a checkpoint holds.

    Args:
        text: Assignments of values, as MMEngine writes them; nothing in it is run.
        path: Of the checkpoint, for messages.

    Raises:
        UserError: It holds more than values, or its model has a part that no registry knows.
    """
    try:
        values = {line.targets[0].id: _value(line.value) for line in ast.parse(text).body}
    except (SyntaxError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f'the config in {str(path)!r} holds more than values ({error}): if you '
                        'know where it comes from, give the config itself with '
                        f'{option("config")}') from None
    if not isinstance(values.get('model'), dict):
        raise UserError(f'the config in {str(path)!r} has no model: give one with '
                        f'{option("config")}')
    parts = [(place, part['type']) for section in ('model', 'data_preprocessor')
             for place, part in typed(section, values.get(section))]
    known = _registered(OWN_SCOPES)
    if not all(_is_known(kind, known) for _, kind in parts):
        known = _registered()
    for place, kind in parts:
        _check_registered(place, kind, known, path)
    return Config(values)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'dict' and not node.args:
        return {word.arg: _value(word.value) for word in node.keywords}
    if isinstance(node, ast.Dict):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values)}
    for kind, syntax in ((list, ast.List), (tuple, ast.Tuple), (set, ast.Set)):
        if isinstance(node, syntax):
            return kind(_value(item) for item in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Name) and node.id in NUMBERS:
        return NUMBERS[node.id]
    return ast.literal_eval(node)


def _registered(scopes: Optional[Container[str]] = None) -> Set[str]:
    """Every name that a part can have: short, with its scope, and with its module's package.

    Args:
        scopes: Those whose packages are imported and looked at. Default: all.
    """
    names = set()
    for registry in (*REGISTRIES, BATCH_AUGMENTS):
        for one in (registry, *registry.children.values()):
            if scopes is not None and one.scope not in scopes:
                continue
            with suppress(ImportError):  # mmdet without mmcv's ops: its parts stay unknown
                one.import_from_location()
            for name, part in one.module_dict.items():
                package = str(getattr(part, '__module__', '')).split('.')[0]
                names |= {name, f'{one.scope}.{name}', f'{package}.{name}'}
    return names


def _is_known(kind: object, known: Set[str]) -> bool:
    words = str(kind).split('.')
    # A class of a pure Python config has all of its path: package.module.Class.
    return str(kind) in known or len(words) > 2 and f'{words[0]}.{words[-1]}' in known


def _check_registered(place: str, kind: object, known: Set[str], path: Union[str, Path]) -> None:
    """MMEngine takes a name that no registry has for that of any function of any module."""
    if not _is_known(kind, known):
        raise UserError(f'{place}.type in the config of {str(path)!r}: no registry has {kind!r}; '
                        'import the package that registers it first, or, if you know where the '
                        f'file comes from, give its config with {option("config")}')
