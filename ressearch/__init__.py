"""ressearch: neural-architecture search and depth scaling for residual networks.

Top level: `Architecture`, `SearchSpace`, `build`, `cost`, `presets`, `Study`, `check`, `run`, `resume`, `load`,
`report`, `pick`. Importing the package costs next to nothing: torch, Ray, pandas and seaborn are imported by the parts
that need them.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ressearch.errors import RessearchError
    from ressearch.networks.architecture import Architecture
    from ressearch.networks.build import build
    from ressearch.networks.cost import Cost, cost
    from ressearch.networks.plan import plan
    from ressearch.networks.presets import presets
    from ressearch.plugins import load_plugin
    from ressearch.reporting import report
    from ressearch.results import load
    from ressearch.results.picking import pick
    from ressearch.search.estimate import check
    from ressearch.search.runner import resume, run
    from ressearch.search.study import Study
    from ressearch.spaces.space import SearchSpace

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "Cost",
    "RessearchError",
    "SearchSpace",
    "Study",
    "build",
    "check",
    "cost",
    "load",
    "load_plugin",
    "pick",
    "plan",
    "presets",
    "report",
    "resume",
    "run",
]

_LAZY = {
    "Architecture": "ressearch.networks.architecture",
    "Cost": "ressearch.networks.cost",
    "RessearchError": "ressearch.errors",
    "SearchSpace": "ressearch.spaces.space",
    "Study": "ressearch.search.study",
    "build": "ressearch.networks.build",
    "check": "ressearch.search.estimate",
    "cost": "ressearch.networks.cost",
    "load": "ressearch.results",
    "load_plugin": "ressearch.plugins",
    "pick": "ressearch.results.picking",
    "plan": "ressearch.networks.plan",
    "presets": "ressearch.networks.presets",
    "report": "ressearch.reporting",
    "resume": "ressearch.search.runner",
    "run": "ressearch.search.runner",
}


_MODULES = (
    "data",
    "export",
    "networks",
    "plugins",
    "registry",
    "reporting",
    "results",
    "search",
    "spaces",
    "testing",
    "training",
)
"""Rooms and modules that ``ressearch.NAME`` imports."""


def __getattr__(name: str) -> Any:
    """Import the parts, and torch, Ray, pandas or seaborn where they need them, on first use (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"ressearch.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'ressearch' has no attribute '{name}'")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    setattr(sys.modules[__name__], name, value)
    return value


def __dir__() -> list[str]:
    """Return every public name, imported yet or not."""
    return sorted({*globals(), *__all__})
