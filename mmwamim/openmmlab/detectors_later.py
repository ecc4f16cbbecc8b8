"""mmpretrain without mmdet, until mmdet itself is imported.

One part of mmpretrain, a shared head of ResNet detectors, imports the whole of mmdet where that is
installed. That is a third of the time and a fifth of the memory that a process takes to start, in
each of the ranks of a run that detects nothing (docs/benchmarks.md).
"""
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Optional

from .late import after_import, find_first

PART = 'mmpretrain.models.utils.res_layer_extra_norm'
PACKAGE, NAME = PART.rpartition('.')[0], 'ResLayerExtraNorm'


class _Later:
    """Finds the part as mmpretrain has it without mmdet, while mmpretrain itself is imported."""

    name = PART

    def find_spec(self, name: str, path=None, target=None) -> Optional[ModuleSpec]:
        wanted = 'mmdet.models' in sys.modules or hasattr(sys.modules.get(PACKAGE), NAME)
        return ModuleSpec(name, self) if name == PART and not wanted else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, NAME, None)


def leave_detectors_for_later() -> None:
    """Has mmpretrain take its part of mmdet when mmdet, or the part by its name, is imported."""
    after_import(PART, _hand_on)
    after_import(PACKAGE, _forget)
    after_import('mmdet.models', _complete)
    find_first(_Later())


def _forget(package: ModuleType) -> None:
    """So that importing the part by its name, as ``custom_imports`` do, finds the real one."""
    if getattr(package, NAME) is None:
        sys.modules.pop(PART, None)
        vars(package).pop(PART.rpartition('.')[2], None)


def _complete(_: ModuleType) -> None:
    if PACKAGE in sys.modules:
        import_module(PART)


def _hand_on(part: ModuleType) -> None:
    if hasattr(sys.modules.get(PACKAGE), NAME):
        setattr(sys.modules[PACKAGE], NAME, getattr(part, NAME))
