"""Whether what this package stands on is installed, once, and in a version that fits.

MMEngine, mmcv and mmpretrain have two distributions each, the originals and the maintained
``onedl-*``, with the same files. So this package asks for neither; it looks for them when its parts
are registered, and says what to do in one line. ``mmwamim.wavelets`` needs none of them.
"""
import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Dict, List, Optional, Tuple

from packaging.version import Version

# Of each module: the distributions that have it, with the oldest version that works.
DISTRIBUTIONS: Dict[str, Dict[str, str]] = {
    'mmengine': {'onedl-mmengine': '0.10.12', 'mmengine': '0.10.7', 'mmengine-lite': '0.10.7'},
    'mmcv': {'onedl-mmcv': '2.3.6', 'mmcv': '2.1.0', 'mmcv-lite': '2.1.0'},
    'mmpretrain': {'onedl-mmpretrain': '1.3.6', 'mmpretrain': '1.2.0'},
    'mmdet': {'onedl-mmdetection': '3.5.1', 'mmdet': '3.3.0'},
    'mmseg': {'onedl-mmsegmentation': '1.4.2', 'mmsegmentation': '1.2.2'},
}
NEEDED = ('mmengine', 'mmcv', 'mmpretrain')
HOW = "pip install 'mmwamim[onedl]' (maintained), or 'mmwamim[openmmlab]' (the originals)"
OPTIONAL = {'mmdet': "pip install 'mmwamim[det]'", 'mmseg': "pip install 'mmwamim[seg]'"}
OPS = 'with the compiled ops of mmcv (requirements/mmcv_ops.sh, or MMCV_WITH_OPS=1)'


def installed(module: str) -> Dict[str, str]:
    """The distributions of a module that are installed, each with its version.

    >>> sorted(set(installed('mmengine')) & {'onedl-mmengine', 'mmengine'}) != []
    True
    """
    found = {}
    for name in DISTRIBUTIONS[module]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def problems(modules: Tuple[str, ...] = NEEDED) -> Tuple[List[str], List[str]]:
    """What keeps this package from working, and what may; a line each, with the way out."""
    errors, doubts = [], []
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        errors.append(f'mmwamim needs {", ".join(missing)}, which has two distributions, so that '
                      f'neither is installed by itself: {HOW}')
    for name in modules:
        found = installed(name)
        if len(found) > 1:
            doubts.append(
                f'{name} is installed twice, as {" and ".join(map(" ".join, found.items()))}, '
                f'which share files: pip uninstall -y {" ".join(found)}, then install one of them')
        for distribution, have in found.items():
            least = DISTRIBUTIONS[name][distribution]
            if Version(have) < Version(least):
                errors.append(f'mmwamim needs {distribution} >= {least}, and {have} is installed: '
                              f"pip install -U '{distribution}>={least}'")
    return errors, doubts


def check_environment() -> None:
    """Warns of what may break.

    Raises:
        ImportError: Something is missing or too old; the message says what to install.
    """
    errors, doubts = problems()
    if errors:
        raise ImportError('; '.join(errors + doubts))
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=3)


def missing_toolbox(scope: Optional[str]) -> Optional[str]:
    """One line on how to install the toolbox that a config's ``default_scope``, or the prefix of
    a type, names; None if it is there."""
    if scope not in OPTIONAL or find_spec(scope) is not None:
        return None
    return f'{scope} is not installed: {OPTIONAL[scope]}, {OPS}'
