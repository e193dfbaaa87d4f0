from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ressearch

ROOT = Path(__file__).parents[1]
MODULES = [module.name for module in pkgutil.walk_packages(ressearch.__path__, "ressearch.")]


def test_importing_the_package_imports_neither_ray_nor_pandas_nor_seaborn() -> None:
    script = "import sys, json, ressearch; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", script]))
    assert not {"ray", "pandas", "seaborn", "matplotlib", "optuna", "sklearn"} & set(loaded)


def test_the_training_engine_needs_neither_ray_nor_optuna() -> None:
    script = (
        "import sys; sys.modules['ray'] = sys.modules['optuna'] = None\n"
        "from ressearch import Architecture\n"
        "from ressearch.data import load_dataset, split\n"
        "from ressearch.training import Engine, Recipe\n"
        "parts = split(load_dataset('synthetic'), 0, 0.2, 0.2)\n"
        "Engine(Architecture(depths=(1,), widths=(4,)), parts, 3, Recipe(epochs=1)).train_epoch()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_heavy_imports_stay_in_their_rooms() -> None:
    rooms = {
        "ray": ("search/",),
        "optuna": ("search/",),
        "seaborn": ("reporting/",),
        "matplotlib": ("reporting/",),
        "pandas": ("statistics/", "results/", "reporting/"),
    }
    for path in (ROOT / "ressearch").rglob("*.py"):
        place = path.relative_to(ROOT / "ressearch").as_posix()
        for package, allowed in rooms.items():
            if re.search(rf"^\s*(?:import|from) {package}\b", path.read_text(), re.MULTILINE):
                assert place.startswith(allowed), f"{place} imports {package}"


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_the_public_names_are_functions_and_classes_and_are_listed() -> None:
    for name in MODULES:
        importlib.import_module(name)
    assert all(callable(getattr(ressearch, name)) for name in ressearch.__all__)
    script = "import ressearch; print(' '.join(dir(ressearch)))"  # where nothing was used yet
    listed = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    assert set(ressearch.__all__) <= set(listed)


def test_the_page_of_the_space_lists_every_choice() -> None:
    page = (ROOT / "docs" / "space.md").read_text()
    from ressearch.networks.blocks import BLOCKS
    from ressearch.networks.shortcuts import SHORTCUTS
    from ressearch.networks.skips import SKIPS, skip_options
    from ressearch.networks.stems import STEMS

    for name in (*BLOCKS, *SKIPS, *SHORTCUTS, *STEMS):
        assert f"| `{name}` |" in page, name
    for name, style in SKIPS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` | {style.formula} |"))
        assert all(f"`{option}` {value:g}" in row for option, value in skip_options(name).items()), row
