"""Keeps mmpretrain importable beside transformers 5.

Where transformers and pycocotools are installed, mmpretrain imports its models of text and images
with the rest, and those fail on import with the 5th version of transformers. Nothing here needs
them.
"""
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Optional

SWITCH = 'mmpretrain.utils.dependency'


class _WithoutMultimodal:
    """Finds the module that decides whether there are such models, and has it say no."""

    def find_spec(self, name: str, path=None, target=None) -> Optional[ModuleSpec]:
        if name != SWITCH:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module

        def switch_off(module: ModuleType) -> None:
            execute(module)
            module.WITH_MULTIMODAL = False

        spec.loader.exec_module = switch_off
        return spec


def leave_out_multimodal() -> None:
    """Has mmpretrain, once it is imported, leave out what transformers 5 would break."""
    try:
        breaks = int(version('transformers').split('.')[0]) >= 5
    except PackageNotFoundError:
        return
    if breaks and 'mmpretrain' not in sys.modules:
        sys.meta_path.insert(0, _WithoutMultimodal())
