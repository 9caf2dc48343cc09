"""Something to do when a module has been imported, without importing it now."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def on_import(name: str, act: Callable[[], None]) -> None:
    """Call `act` as soon as module `name` is imported: now, if it is already."""
    for finder in [finder for finder in sys.meta_path if isinstance(finder, _Watch) and finder.name == name]:
        sys.meta_path.remove(finder)
    if name in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, _Watch(name, act))


class _Watch(MetaPathFinder):
    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self.name = name
        self._act = act

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)  # the others find it, and a later import of the same name is none of ours
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def then_act(module: ModuleType) -> None:
            execute(module)
            self._act()

        spec.loader.exec_module = then_act  # type: ignore[method-assign]
        return spec
