"""KEY=VALUE on a command line, and fields given to a call from Python."""
import argparse
import difflib
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

from mmengine.config import Config

from mmwamim.engine.config.check import SECTIONS, check_config
from mmwamim.engine.config.options import FieldAction, merge_options
from mmwamim.engine.config.reading import read_config
from mmwamim.engine.config.values import check_integer
from mmwamim.engine.training.compile import MODES
from mmwamim.errors import UserError
from mmwamim.interface.arguments import plain
from mmwamim.interface.words import option

from .several import add_gpus

MORE = (*SECTIONS, 'auto_scale_lr', 'env_cfg', 'randomness', 'log_level', 'log_processor',
        'channels', 'value_range', 'license', 'find_unused_parameters', 'val_cfg', 'test_cfg',
        'model_wrapper_cfg', 'vis_backends', 'default_scope', 'work_dir')


def add_fields(parser: argparse.ArgumentParser) -> None:
    """The words at the end of a command line."""
    parser.add_argument('fields', nargs='*', default=[], metavar='KEY=VALUE',  # or it is required
                        help='any field of the config, as in model.mask_ratio=0.6')


def add_columns(parser: argparse.ArgumentParser, labels: bool = True) -> None:
    """Options of commands that read images, for tables and Hugging Face data sets."""
    parser.add_argument('--column', metavar='NAME', help='the column of paths or images, where the '
                        'data are a table or a Hugging Face data set (default: by usual names)')
    if labels:
        parser.add_argument('--label-column', metavar='NAME', help='the column of classes there')


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """What every command that trains takes."""
    parser.add_argument('--amp', action='store_true',
                        help='bfloat16, on a GPU also where the config has none; on a CPU only so')
    parser.add_argument('--compile', nargs='?', const='default', choices=MODES, metavar='MODE',
                        help='compile the step into one graph')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='how the processes were started (default: by --gpus)')
    add_gpus(parser)
    add_log(parser)
    add_fields(parser)


def add_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--log', nargs='+', metavar='NAME', help='also log to tensorboard, wandb, '
                        'mlflow, ... (backends of MMEngine\'s visualizer)')


def take_fields(options: Dict[str, Any], names: Iterable[str] = ()) -> Dict[str, Any]:
    """Takes KEY=VALUE words out of a command's options, those that follow ``--log`` included, and
    reads them: :func:`parse_fields`.

    Args:
        options: Of a command line.
        names: Of options, which are no fields.
    """
    words, logs = options.pop('fields'), options.get('log') or []
    options['log'] = [name for name in logs if '=' not in name] or None
    return parse_fields([*words, *(name for name in logs if '=' in name)], names)


def parse_fields(words: Sequence[str], options: Iterable[str] = ()) -> Dict[str, Any]:
    """KEY=VALUE words as a dict of dotted names, values as of
    :func:`mmwamim.engine.config.options.read_value`.

    Args:
        words: Of a command line.
        options: Names of the command's own options, which are no fields.

    Raises:
        UserError: A word has no '=' or a value that is no number, word or list, or names an option.

    Examples:
        >>> parse_fields(['model.mask_ratio=0.6', 'model.backbone.out_indices=(0,1)'])
        {'model.mask_ratio': 0.6, 'model.backbone.out_indices': (0, 1)}
    """
    for word in words:
        if not word.partition('=')[0] or '=' not in word:
            raise UserError(f'{word!r} is neither an option nor KEY=VALUE, as in '
                            'model.mask_ratio=0.6')
        name, _, value = word.partition('=')
        if name in options:
            raise UserError(f'{word}: {name} is no field of the config, but an option: '
                            f'--{name.replace("_", "-")} {value}')
    space = argparse.Namespace()
    FieldAction(option_strings=[], dest='fields', nargs='*')(None, space, list(words))
    return space.fields


def check_counts(**counts: Optional[int]) -> None:
    """Checks options that count something; None, which is to be settled, is right.

    Raises:
        UserError: One is no integer of at least 1 (``workers``: 0).

    Examples:
        >>> check_counts(epochs=5, batch_size=0)
        Traceback (most recent call last):
        mmwamim.errors.UserError: batch_size must be at least 1, not 0
    """
    for name, value in counts.items():
        least = 0 if name == 'workers' else 1
        if isinstance(value, int) and value < least:
            raise UserError(f'{option(name)} must be at least {least}, not {value}')
        if value is not None:
            check_integer(option(name), value, least)


def check_names(fields: Mapping[str, Any], cfg: Config, options: Sequence[str]) -> None:
    """Checks that the first part of every name is a section of the config; what lies below is
    checked with the config itself.

    Args:
        fields: By dotted names, or nested.
        cfg: The config that they change.
        options: Names of the command's own options, for a misspelt one.

    Raises:
        UserError: It is none; the message gives the nearest right spelling.
    """
    known = sorted({*map(str, cfg.keys()), *MORE})
    for name in fields:
        first = name.split('.')[0]
        if first not in known:
            near = _below(cfg, first) or difflib.get_close_matches(
                first, [*options, *known], n=1, cutoff=0.5)
            raise UserError(f'{first}: the config has no such field'
                            + (f'; did you mean {near[0]!r}?' if near else ''))


def _below(section: Mapping[str, Any], field: str, place: str = '') -> List[str]:
    """The dotted names of a field that lie inside of others, those of fewest parts first."""
    found = []
    for name, value in section.items():
        if name == field and place:
            found.append(f'{place}{name}')
        if isinstance(value, dict):
            found += _below(value, field, f'{place}{name}.')
    return sorted(found, key=lambda one: one.count('.'))


def read_with(config: Path, fields: Mapping[str, Any], options: Sequence[str]) -> Config:
    """A config file with fields merged in, whose names are checked first.

    Args:
        config: The file.
        fields: By dotted names, or nested; left as they are, which MMEngine does not do.
        options: Names of the command's own options, for a misspelt one.

    Raises:
        UserError: A field does not fit the config.
    """
    check_names(fields, read_config(config), options)
    cfg = read_config(config, fields)
    check_config(cfg)  # before parts of it are built, to settle the rest
    return cfg


def merge(cfg: Config, fields: Mapping[str, Any]) -> None:
    """Merges fields into a config, and leaves them as they are."""
    merge_options(cfg, fields)


def flatten(fields: Mapping[str, Any]) -> Dict[str, Any]:
    """Fields by their dotted names alone. What replaces (``_delete_``) stays in one piece.

    Numbers and arrays of NumPy and torch become Python's, which a config is written down with.

    MMEngine, given ``model`` and ``model.mask_ratio`` together, forgets one of them.

    Examples:
        >>> flatten({'model': {'mask_ratio': 0.6, 'neck': {'depth': 2}}, 'a.b': 1})
        {'model.mask_ratio': 0.6, 'model.neck.depth': 2, 'a.b': 1}
    """
    flat: Dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict) and value and '_delete_' not in value:
            flat.update({f'{name}.{below}': one for below, one in flatten(value).items()})
        else:
            flat[name] = plain(value)
    return flat


def is_given(fields: Mapping[str, Any], name: str) -> bool:
    """Whether a field, or one around or below it, is among flat ones."""
    return any(key == name or key.startswith(f'{name}.') or name.startswith(f'{key}.')
               for key in fields)
