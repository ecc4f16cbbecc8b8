"""``--log``: where losses and accuracies of a run go besides its work directory."""
from importlib.util import find_spec
from typing import Dict, Sequence, Union

import mmengine.visualization  # noqa: F401  (registers the backends)
from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import Visualizer

from mmwamim.errors import UserError
from mmwamim.interface.words import option

from .reading import type_name

ENDING = 'VisBackend'
LOCAL = 'Local' + ENDING  # what is drawn from a run, and compared, is read from its files
OWN = dict(mlflow='mmwamim.MLflowVisBackend')  # in place of MMEngine's
MORE = dict(dvclive=('dvclive', 'pygit2'))  # others need the library of their own name


def loggers() -> Dict[str, str]:
    """The visualization backends of MMEngine besides the local one: name here, name there.

    Examples:
        >>> loggers()['tensorboard'], loggers()['wandb']
        ('TensorboardVisBackend', 'WandbVisBackend')
    """
    return {name.removesuffix(ENDING).lower(): name for name in VISBACKENDS.module_dict
            if name.endswith(ENDING) and name != LOCAL}


def settle_loggers(cfg: Config, names: Union[str, Sequence[str], None]) -> None:
    """Adds backends to the config's visualizer, which keeps those that it has; the local one, which
    the pictures of a run are drawn from, comes first.

    Args:
        cfg: The config, changed in place.
        names: As in :func:`loggers`, in any case; ``'local'`` changes nothing.

    Raises:
        UserError: There is no such logger, or its library is not installed.

    Examples:
        >>> cfg = Config(dict(visualizer=dict(type='Visualizer')))
        >>> settle_loggers(cfg, [])  # nothing was asked for
        >>> cfg.visualizer
        {'type': 'Visualizer'}
    """
    names = [names] if isinstance(names, str) else list(names or ())
    if not names:
        return
    known = loggers()
    wanted = []
    for name in (one.lower() for one in names if one.lower() != 'local'):
        if name not in known:
            raise UserError(f'{option("log")}: there is no logger {name!r}; there are '
                            f'{", ".join(sorted(known))}')
        missing = [library for library in MORE.get(name, (name, )) if not _is_installed(library)]
        if missing:
            raise UserError(f'{option("log", name)} needs {" and ".join(missing)}, which is not '
                            f'installed: pip install {" ".join(missing)}')
        wanted.append(name)
    visualizer = dict(cfg.get('visualizer') or dict(type='Visualizer'))
    backends = visualizer.get('vis_backends') or []
    backends = list(backends) if isinstance(backends, (list, tuple)) else [backends]
    there = [type_name(backend) for backend in backends]
    local = [backend for backend, kind in zip(backends, there) if kind == LOCAL]
    others = [backend for backend, kind in zip(backends, there) if kind != LOCAL]
    visualizer['vis_backends'] = [
        *(local or [dict(type=LOCAL)]), *others,
        *(dict(type=OWN.get(name, known[name])) for name in dict.fromkeys(wanted)
          if known[name] not in there)]
    cfg.visualizer = visualizer


def start_loggers(visualizer: Visualizer) -> None:
    """Starts the loggers of a run, on its first process, before anything is trained.

    Raises:
        UserError: One cannot start, as without its server or an account.
    """
    for backend in visualizer._vis_backends.values():
        try:
            _ = backend.experiment  # MMEngine starts a backend when it is first asked
        except Exception as error:  # libraries raise what they like
            name = type(backend).__name__.removesuffix(ENDING).lower()
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f'the logger {name} ({option("log")}, or visualizer.vis_backends) '
                            f'cannot start: {said}') from error


def _is_installed(library: str) -> bool:
    found = find_spec(library)
    return found is not None and found.origin is not None  # or a folder of logs, as ./wandb is
