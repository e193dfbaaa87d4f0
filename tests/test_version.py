"""One version number: stated in ressearch/version.py, read everywhere else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ressearch
from ressearch import version
from ressearch.cli import main

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_project_reads_its_version_from_the_package() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    attribute = PROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert attribute == "ressearch.version.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", version.__version__)
    assert ressearch.__version__ == version.__version__


def test_nothing_else_states_it() -> None:
    for path in [*(ROOT / "ressearch").rglob("*.py"), ROOT / "pyproject.toml", ROOT / "mkdocs.yml"]:
        if path.name != "version.py":
            stated = re.search(rf"(?i)version\w*\s*[=:]\s*[\"']{re.escape(version.__version__)}[\"']", path.read_text())
            assert stated is None, path


def test_the_command_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out.split()[-1] == ressearch.__version__


def test_a_study_records_it(small_run: Path) -> None:
    assert json.loads((small_run / "run.json").read_text())["versions"]["ressearch"] == ressearch.__version__


def test_asking_for_it_imports_none_of_the_parts() -> None:
    script = "import sys, ressearch; ressearch.__version__; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    loaded = {name for name in modules if name.split(".")[0] == "ressearch"}
    assert loaded == {"ressearch", "ressearch.version"}
