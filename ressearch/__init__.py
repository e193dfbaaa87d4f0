"""ressearch: neural-architecture search and depth scaling for residual networks.

Top level: `Architecture`, `SearchSpace`, `build`, `cost`, `presets`, `Study`, `load`, `report`, `pick`. Importing
the package costs next to nothing: torch, Ray, pandas and seaborn are imported by the parts that need them.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ressearch.architecture import Architecture
    from ressearch.cost import Cost, cost
    from ressearch.errors import RessearchError
    from ressearch.network import build, plan
    from ressearch.pick import pick
    from ressearch.presets import presets
    from ressearch.report import report
    from ressearch.results import load
    from ressearch.search.runner import resume
    from ressearch.search.study import Study
    from ressearch.space import SearchSpace

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "Cost",
    "RessearchError",
    "SearchSpace",
    "Study",
    "build",
    "cost",
    "load",
    "pick",
    "plan",
    "presets",
    "report",
    "resume",
]

_LAZY = {
    "Architecture": "ressearch.architecture",
    "Cost": "ressearch.cost",
    "RessearchError": "ressearch.errors",
    "SearchSpace": "ressearch.space",
    "Study": "ressearch.search.study",
    "build": "ressearch.network",
    "cost": "ressearch.cost",
    "load": "ressearch.results",
    "pick": "ressearch.pick",
    "plan": "ressearch.network",
    "presets": "ressearch.presets",
    "report": "ressearch.report",
    "resume": "ressearch.search.runner",
}


def __getattr__(name: str) -> Any:
    """Import the parts, and torch, Ray, pandas or seaborn where they need them, on first use (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'ressearch' has no attribute '{name}'")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    setattr(sys.modules[__name__], name, value)
    return value


class _Package(ModuleType):
    """Keeps `ressearch.cost`, `ressearch.pick`, `ressearch.presets` and `ressearch.report` the functions.

    Python binds a submodule to its package when it is first imported; here the function of the same name is bound.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("cost", "pick", "presets", "report") and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
