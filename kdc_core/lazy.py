"""Export names from a package without importing its modules before they are used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def lazy_exports(
    package: str, modules: dict[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], list[str]]:
    """Return ``__getattr__`` and ``__all__`` for a package.

    Args:
        package: ``__name__`` of the package.
        modules: name of a submodule: the names that the package exports from it. An empty tuple
            exports the submodule itself.
    """
    owner = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name in owner:
            value = getattr(importlib.import_module(f"{package}.{owner[name]}"), name)
            setattr(sys.modules[package], name, value)
            return value
        if modules.get(name) == ():
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, sorted([*owner, *(module for module, names in modules.items() if not names)])
