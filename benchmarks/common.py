"""What the benchmarks share: the machine they ran on, and where the results go."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

import ressearch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Describe the machine and the versions that matter."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = next(
        (line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")), platform.processor()
    )
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": model,
        "cpu_cores": cores,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ressearch": ressearch.__version__,
    }


def _cpu_info() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def save(name: str, results: dict[str, Any]) -> None:
    """Write the results beside the machine they were measured on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n")
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
