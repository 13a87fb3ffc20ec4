"""CraftBench: recommender-system papers reproduced, and room for your own method beside them."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_FACE = {
    "Runner": "core.runner",
    "Params": "core.params",
    "check_runner": "testing",
    "unlearn": "methods.ifru",
}

__all__ = ["Params", "Runner", "__version__", "check_runner", "unlearn"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import the few public names on first use, so that `import craftbench` stays cheap."""
    if name not in _FACE:
        raise AttributeError(f"module 'craftbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_FACE[name]}"), name)
