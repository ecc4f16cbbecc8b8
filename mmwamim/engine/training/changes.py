"""What differs between the config of a checkpoint and today's, field by field."""
import ast
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

# Where things are, not what is trained.
PLACES = ('work_dir', 'experiment_name', 'load_from', 'resume', 'launcher', 'model_wrapper_cfg',
          'log_level', 'terminal', 'visualizer', 'vis_backends', 'model.backbone.init_cfg')
MISSING = '(not set)'


class Change(NamedTuple):
    """A field whose value is another one."""
    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f'{self.field}: {_short(self.old)} -> {_short(self.new)}'


def _short(value: Any) -> str:
    text = value if value is MISSING else repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def parse_config(text: str) -> Optional[dict]:
    """The fields of MMEngine's ``Config.pretty_text`` without running it; None if it holds more
    than values. Tuples become lists."""
    try:
        return {target.id: _value(line.value) for line in ast.parse(text).body
                for target in line.targets}
    except (SyntaxError, ValueError, AttributeError):
        return None


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'dict' and not node.args:
        return {word.arg: _value(word.value) for word in node.keywords}
    if isinstance(node, ast.Dict):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Name) and node.id in ('inf', 'nan'):
        return node.id
    return ast.literal_eval(node)


def changes(old: Optional[dict], new: Optional[dict]) -> List[Change]:
    """The fields that differ, sorted; none if either config is unknown."""
    if old is None or new is None:
        return []
    before, after = dict(_flatten(old)), dict(_flatten(new))
    return [Change(field, before.get(field, MISSING), after.get(field, MISSING))
            for field in sorted({*before, *after})
            if before.get(field, MISSING) != after.get(field, MISSING)
            and not field.startswith(PLACES)]


def _flatten(value: Any, place: str = '') -> Iterator[Tuple[str, Any]]:
    parts: Dict[Any, Any]
    if isinstance(value, dict) and value:
        parts = value
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        parts = dict(enumerate(value))
    else:
        yield place, value
        return
    for name, below in parts.items():
        yield from _flatten(below, f'{place}.{name}' if place else str(name))
