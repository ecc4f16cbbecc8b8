"""Config files, and what is asked of them again and again."""
import os
from pathlib import Path
from typing import Dict, Optional, Sequence, Union

from mmengine.config import Config

from mmwamim.errors import MissingFile, UserError

from .options import merge_options


def read_config(path: Union[str, Path], options: Optional[dict] = None) -> Config:
    """A config file with fields that were given merged in.

    Raises:
        MissingFile: There is no such file.
        UserError: It is no config, or an option does not fit it.
    """
    if not Path(path).is_file():
        raise MissingFile(f'there is no config {str(path)!r}')
    try:
        _check_bases(Path(path))
        cfg = Config.fromfile(path)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # it is a program, which raises whatever it likes
        text = ' '.join(str(error).split())
        raise UserError(f'{path} cannot be read as a config: {type(error).__name__}: {text}'
                        ) from error
    try:
        merge_options(cfg, options or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f'a field that was given does not fit {path}: {error.args[0]}') from error
    return cfg


def _check_bases(path: Path, above: Sequence[Path] = ()) -> None:
    """Goes through the files that a config is built on, as MMEngine will.

    Raises:
        UserError: One is not there, or they name each other in a circle: MMEngine would go round
            for a minute.
    """
    above = (*above, path)
    try:
        bases = Config._get_base_files(str(path))
    except SyntaxError as error:
        cause = error.__context__ if isinstance(error.__context__, SyntaxError) else error
        raise UserError(f'{path} cannot be read as a config: SyntaxError: {cause.msg}, line '
                        f'{cause.lineno}') from error
    for name in bases:
        if not isinstance(name, str):
            raise UserError(f'_base_ in {path} must be a path or a list of paths, not {name!r}')
        if '::' in name or '{{' in name:  # of another package, or to be put in
            continue
        base = path.parent / name
        if not base.is_file():
            raise MissingFile(f'_base_ in {path}: there is no config {str(base)!r}')
        if base.resolve() in [one.resolve() for one in above]:
            raise UserError(f'_base_ in {path} names {str(base)!r}, which is built on {path} '
                            'itself: configs cannot name each other in a circle')
        _check_bases(base, above)


def settle_work_dir(cfg: Config, config_path: str, work_dir: str = None) -> None:
    """The command line first, then the config, then work_dirs/<config's name>."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(config_path).stem)


def default_hooks(cfg: Config) -> dict:
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = {}
    return cfg.default_hooks


def hooks_of(cfg: Config) -> Dict[str, dict]:
    """The hooks that a config names, by their places in it."""
    custom = cfg.get('custom_hooks') or []
    found = {f'default_hooks.{name}': hook for name, hook in default_hooks(cfg).items() if hook}
    return {**found, **({'custom_hooks': custom} if isinstance(custom, dict) else {
        f'custom_hooks.{number}': hook for number, hook in enumerate(custom)})}


def is_type(part: dict, name: str) -> bool:
    """Whether a part of a config is of a type, with or without the package's prefix."""
    return type_name(part) == name


# Names of parts that older configs may have.
RENAMED = dict(EncoderArrivedHook='EncoderLoadedHook')


def type_name(part: dict) -> str:
    """The class that a part of a config names, without its package: by a string, or itself as in
    MMEngine's pure-Python configs. A part that was renamed has its new name.

    >>> type_name(dict(type='mmwamim.WaMIM')), type_name(dict(type=Config)), type_name({})
    ('WaMIM', 'Config', '')
    """
    kind = part.get('type') or ''
    name = getattr(kind, '__name__', str(kind)).split('.')[-1]
    return RENAMED.get(name, name)
