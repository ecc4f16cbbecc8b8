"""KEY=VALUE of a command line: MMEngine's reading of values, and dicts."""
import ast
import copy
import json
from argparse import ArgumentParser, Namespace
from typing import Any, Mapping, Optional, Sequence

from mmengine.config import Config, DictAction

from mmwamim.errors import UserError


class FieldAction(DictAction):
    """As MMEngine's action, which reads numbers, True, None, texts, and lists and tuples of them;
    what has dicts in it is read as JSON or Python.

    Raises:
        UserError: A word has no '=', or a value is of neither kind.
    """

    def __call__(self, parser: Optional[ArgumentParser], namespace: Namespace,
                 values: Sequence[str], option_string: Optional[str] = None) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        for word in values or ():
            name, equals, value = word.partition('=')
            if not name or not equals:
                raise UserError(f'{word!r} is no KEY=VALUE, as in model.mask_ratio=0.6')
            options[name] = read_value(name, value)
        setattr(namespace, self.dest, options)


def read_value(name: str, text: str) -> Any:
    """The value that a text on a command line stands for.

    Args:
        name: Of the field, for the message.
        text: What follows the '='.

    Raises:
        UserError: It has a dict that is neither JSON nor Python, or brackets without partners.

    Examples:
        >>> read_value('a', '(0,1)'), read_value('a', 'cat'), read_value('a', '{"b": true}')
        ((0, 1), 'cat', {'b': True})
        >>> read_value('a', "dict(b=[dict(c=1)])")
        {'b': [{'c': 1}]}
    """
    inner = text.strip()
    quoted = len(inner) > 1 and inner[0] == inner[-1] and inner[0] in '\'"'
    if quoted:
        inner = inner[1:-1].strip()
    if inner.startswith('dict(') or inner.startswith('{') or (
            inner.startswith(('[', '(')) and ('{' in inner or 'dict(' in inner)):
        for read in (json.loads, lambda given: _literal(ast.parse(given, mode='eval').body)):
            try:
                return read(inner)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
        if quoted:
            return inner
        raise UserError(f'{name}={text} cannot be read: write a dict as in '
                        f"'{name}={{\"a\": 1, \"b\": [2, 3]}}' or '{name}=dict(a=1, b=[2, 3])'")
    try:
        return DictAction._parse_iterable(text)
    except (AssertionError, RecursionError):
        raise UserError(f'{name}={text} cannot be read: brackets are not closed, or in an order '
                        f"that is no list; a text with brackets goes into quotes, '{name}=\"...\"'"
                        ) from None


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Merges fields, by dotted names or nested, into a config, and leaves them as they are. A dict
    takes the place of a text, a number or None, for which MMEngine asks for ``_delete_``.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: MMEngine's, where a field does not fit.

    Examples:
        >>> cfg = Config(dict(arch='base', depth=2))
        >>> merge_options(cfg, {'arch.embed_dims': 64, 'arch.num_layers': 4})
        >>> cfg.arch
        {'embed_dims': 64, 'num_layers': 4}
    """
    for name, value in options.items():
        _make_room(cfg, name, value)
    cfg.merge_from_dict(copy.deepcopy(dict(options)))


def _make_room(owner: Any, name: str, value: Any) -> None:
    """Empties the plain values of a config that a dict shall replace."""
    name, _, rest = name.partition('.')
    inner = {rest: value} if rest else value
    if not (isinstance(inner, dict) and isinstance(owner, (Config, dict)) and name in owner):
        return
    if owner[name] is None or isinstance(owner[name], (str, int, float)):
        if name != 'type':
            owner[name] = {}
        return
    for field, part in inner.items():
        _make_room(owner[name], str(field), part)


def _literal(node: ast.expr) -> Any:
    """A literal of Python, in which dicts may be written as ``dict(a=1)``.

    Raises:
        ValueError: It is anything else.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' \
            and not node.args and all(one.arg for one in node.keywords):
        return {one.arg: _literal(one.value) for one in node.keywords}
    if isinstance(node, (ast.List, ast.Tuple)):
        kind = list if isinstance(node, ast.List) else tuple
        return kind(_literal(one) for one in node.elts)
    if isinstance(node, ast.Dict) and all(node.keys):
        return {_literal(key): _literal(value) for key, value in zip(node.keys, node.values)}
    return ast.literal_eval(node)
