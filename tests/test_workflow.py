"""What runs before a commit and on the forge: the versions and the commands are those of the repository."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
PINNED = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
)


def commands() -> Iterator[list[str]]:
    for job in WORKFLOW["jobs"].values():
        yield from (shlex.split(step["run"]) for step in job["steps"] if "run" in step)


def matrix() -> list[str]:
    versions: list[str] = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python"]
    return versions


def test_it_calls_targets_that_the_makefile_has() -> None:
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    made = [words for words in commands() if words[0] == "make"]
    assert {words[1] for words in made} == {"test", "pytest", "docs"} <= targets
    variables = {word.partition("=")[0] for words in made for word in words[2:]}
    assert variables <= set(re.findall(r"^(\w+) \?=", MAKEFILE, re.MULTILINE))


def test_it_runs_on_every_python_that_the_project_names() -> None:
    named = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert matrix() == named
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert all(one in allowed for one in named)
    before = Version(named[0])
    assert f"{before.major}.{before.minor - 1}" not in allowed
    jobs: dict[str, Any] = WORKFLOW["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert len(steps) == len(jobs)
    assert {step["with"]["python-version"] for step in steps} <= {"${{ matrix.python }}", *named}


def test_ruff_before_a_commit_is_the_ruff_of_the_tests() -> None:
    (ruff,) = (one for one in HOOKS["repos"] if one["repo"].endswith("ruff-pre-commit"))
    assert ruff["rev"] == f"v{PINNED['ruff']}"
    assert {hook["id"] for hook in ruff["hooks"]} == {"ruff-check", "ruff-format"}


def test_the_tested_versions_are_within_the_ranges_of_the_project() -> None:
    pinned = {name.lower().replace("_", "-"): version for name, version in PINNED.items()}
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(one for extra in extras for one in extra)]:
        requirement = Requirement(text)
        assert pinned[requirement.name.lower()] in requirement.specifier, text


def test_every_install_of_the_makefile_takes_the_constraints_asked_for() -> None:
    installs = re.findall(r"pip install .*", MAKEFILE)
    assert len(installs) >= 3
    assert all("--constraint $(CONSTRAINTS)" in line for line in installs)
