"""Fixtures: one small study, really run once through Ray Tune, that many tests read."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from ressearch import Study

# Measurements of this machine are remembered for the tests alone; processes that they start inherit it.
os.environ["RESSEARCH_CACHE"] = tempfile.mkdtemp(prefix="ressearch-tests-")

SMALL = {
    "name": "small",
    "question": "Does a tiny network learn digits?",
    "space": {"grid": {"skip": ["none", "identity"], "depth": [8, 14], "width": 4}},
    "recipe": {"epochs": 3, "seeds": 2, "gradient_clip": 1.0},
}


@pytest.fixture(scope="session")
def small_study() -> Study:
    return Study.from_dict(SMALL)


@pytest.fixture(scope="session")
def _small_run(tmp_path_factory: pytest.TempPathFactory, small_study: Study) -> Path:
    return small_study.run(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture
def small_run(_small_run: Path, tmp_path: Path) -> Path:
    """A copy of the directory of a study of 2 skips x 2 depths, run once a session."""
    return Path(shutil.copytree(_small_run, tmp_path / "small"))
