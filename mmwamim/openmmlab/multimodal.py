"""Keeps mmpretrain importable beside transformers 5.

Where transformers and pycocotools are installed, mmpretrain imports its models of text and images
with the rest, and those fail on import with the 5th version of transformers. Nothing here needs
them.
"""
import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from .late import after_import

SWITCH = 'mmpretrain.utils.dependency'  # the module that decides whether there are such models


def leave_out_multimodal() -> None:
    """Has mmpretrain leave out what transformers 5 would break, whichever is imported first."""
    try:
        breaks = int(version('transformers').split('.')[0]) >= 5
    except PackageNotFoundError:
        return
    if breaks and 'mmpretrain.models' not in sys.modules:
        after_import(SWITCH, _switch_off)


def _switch_off(module: ModuleType) -> None:
    module.WITH_MULTIMODAL = False
