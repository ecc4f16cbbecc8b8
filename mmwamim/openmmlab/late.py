"""Something done to a module of another package when it is imported, or at once if it has been.

So that ``import mmwamim`` may change what another package does without importing it.
"""
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Callable, Optional


class _After:
    """Finds one module as Python does, and calls a function with it once it has run."""

    def __init__(self, name: str, function: Callable[[ModuleType], None]) -> None:
        self.name, self.function = name, function

    def find_spec(self, name: str, path=None, target=None) -> Optional[ModuleSpec]:
        spec = PathFinder.find_spec(name, path) if name == self.name else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def run(module: ModuleType) -> None:
            execute(module)
            self.function(module)

        spec.loader.exec_module = run
        return spec


def after_import(name: str, function: Callable[[ModuleType], None]) -> None:
    """Calls ``function(module)`` after every import of a module, and now if it is there.

    Args:
        name: Of the module. Asked for again, as by a reload of this package, the last function
            takes the place of the one before.
        function: May be called more than once with the same module.
    """
    find_first(_After(name, function))
    if name in sys.modules:
        function(sys.modules[name])


def find_first(finder) -> None:
    """Puts a finder of one module before the others, in place of its kind's of the same ``name``,
    which a reload of this package would leave there."""
    sys.meta_path[:] = [other for other in sys.meta_path
                        if not (type(other).__qualname__ == type(finder).__qualname__
                                and getattr(other, 'name', None) == finder.name)]
    sys.meta_path.insert(0, finder)
