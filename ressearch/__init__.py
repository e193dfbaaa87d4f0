"""ressearch: neural-architecture search and depth scaling for residual networks.

Most users need nothing else. `Architecture` describes a network; `plan` lays it out, `cost` counts what it costs and
`build` makes a module of it; `measure_latency` and `measure_memory` run it, `latency_model` predicts for a whole space.
`SearchSpace` describes many networks. `Study` describes a study, `check` says what it would do, `run` does it and
`resume` continues one that was interrupted; `load`, `report` and `pick` read its results. `train` trains one network
alone. `load_plugin` brings blocks, skips, data sets, … of your own.

Importing the package is cheap: torch, Ray, pandas and seaborn are imported when a name that needs them is first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from ressearch.version import __version__ as __version__

if TYPE_CHECKING:
    from ressearch.errors import RessearchError
    from ressearch.export.single import train
    from ressearch.networks.architecture import Architecture
    from ressearch.networks.build import build
    from ressearch.networks.cost import Cost, cost
    from ressearch.networks.latency import Latency, measure_latency
    from ressearch.networks.latency_model import LatencyModel, latency_model
    from ressearch.networks.memory import measure_memory
    from ressearch.networks.plan import plan
    from ressearch.networks.presets import presets
    from ressearch.picking.pick import pick
    from ressearch.plugins import load_plugin
    from ressearch.reporting import compare, report
    from ressearch.results import load
    from ressearch.search.estimate import check
    from ressearch.search.runner import resume, run
    from ressearch.search.study import Study
    from ressearch.spaces.space import SearchSpace

__all__ = [
    "Architecture",
    "Cost",
    "Latency",
    "LatencyModel",
    "RessearchError",
    "SearchSpace",
    "Study",
    "build",
    "check",
    "compare",
    "cost",
    "latency_model",
    "load",
    "load_plugin",
    "measure_latency",
    "measure_memory",
    "pick",
    "plan",
    "presets",
    "report",
    "resume",
    "run",
    "train",
]

_LAZY = {
    "Architecture": "ressearch.networks.architecture",
    "Cost": "ressearch.networks.cost",
    "Latency": "ressearch.networks.latency",
    "LatencyModel": "ressearch.networks.latency_model",
    "RessearchError": "ressearch.errors",
    "SearchSpace": "ressearch.spaces.space",
    "Study": "ressearch.search.study",
    "build": "ressearch.networks.build",
    "check": "ressearch.search.estimate",
    "compare": "ressearch.reporting",
    "cost": "ressearch.networks.cost",
    "latency_model": "ressearch.networks.latency_model",
    "load": "ressearch.results",
    "load_plugin": "ressearch.plugins",
    "measure_latency": "ressearch.networks.latency",
    "measure_memory": "ressearch.networks.memory",
    "pick": "ressearch.picking.pick",
    "plan": "ressearch.networks.plan",
    "presets": "ressearch.networks.presets",
    "report": "ressearch.reporting",
    "resume": "ressearch.search.runner",
    "run": "ressearch.search.runner",
    "train": "ressearch.export.single",
}


_MODULES = (
    "data",
    "export",
    "networks",
    "plots",
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
