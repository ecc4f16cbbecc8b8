"""``--arch NAME``: a config by the name of its encoder, its own name, or its path."""
from pathlib import Path
from typing import Dict, Optional, Union

from mmwamim.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]


def configs_folder() -> Path:
    """The configs that belong to the package: of the source tree, or within the wheel."""
    beside = PACKAGE.parent / 'configs'
    return beside if (beside / 'wamim').is_dir() else PACKAGE / '.mim/configs'


def architectures() -> Dict[str, Path]:
    """Encoders that WaMIM has a recipe for, by name, with the shortest recipe of each.

    Examples:
        >>> sorted(architectures())
        ['swin_b', 'vit_b', 'vit_s', 'vit_tiny']
    """
    found: Dict[str, Path] = {}
    for path in sorted((configs_folder() / 'wamim').glob('*e.py'),
                       key=lambda path: int(path.stem.rpartition('_')[2].rstrip('e'))):
        found.setdefault(path.stem.rpartition('_')[0], path)
    return found


def find_config(name: Union[str, Path], folder: Optional[str] = None) -> Path:
    """The config of ``--arch``.

    Args:
        name: An encoder (``vit_s``), a config's name (``mae_vit_b_1600e``), or a path.
        folder: Where to look for a config's name alone, as in ``'classification'``.

    Raises:
        UserError: There is none; the message lists the encoders.
    """
    path = Path(name)
    if path.suffix in ('.py', '.yml', '.yaml', '.json'):
        if path.is_file():
            return path
        within = configs_folder().parent / path  # configs/wamim/vit_s_100e.py, anywhere
        if within.is_file():
            return within
        raise UserError(f'there is no config {str(name)!r}')
    if folder is None and str(name) in architectures():
        return architectures()[str(name)]
    found = [one for one in (configs_folder() / (folder or '')).rglob('*.py')
             if one.stem == str(name)]
    if len(found) == 1:
        return found[0]
    raise UserError(f'there is no encoder {str(name)!r}: give one of '
                    f'{", ".join(sorted(architectures()))}, or the name or path of a config')
