"""What every test stands on: an empty home and no network, the Hypothesis profiles, and one small study, really run
once through Ray Tune, that many tests read."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import hermetic
import profiles
import pytest
from filelock import FileLock

HOME, MACHINE = hermetic.enter()  # before anything is imported that looks at the environment
atexit.register(hermetic.leave, HOME)
profiles.register()

from hypothesis import settings  # noqa: E402

import ressearch  # noqa: E402
from ressearch import Study  # noqa: E402

SMALL = {
    "name": "small",
    "question": "Does a tiny network learn digits?",
    "space": {"grid": {"skip": ["none", "identity"], "depth": [8, 14], "width": 4}},
    "recipe": {"epochs": 3, "seeds": 2, "gradient_clip": 1.0},
}


def pytest_configure(config: pytest.Config) -> None:
    """A seed that is asked for is drawn from; without one the examples are the same every time."""
    if config.getoption("--hypothesis-seed") is not None and config.getoption("--hypothesis-profile") is None:
        settings.load_profile("drawn")


def pytest_sessionfinish() -> None:
    """End the Ray that tests shared."""
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests for a GPU are skipped where there is none."""
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


@pytest.fixture(autouse=True)
def _environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests that say so (marker `machine_data`) see this machine's own variables, and with them its data."""
    if request.node.get_closest_marker("machine_data") is None:
        yield
        return
    with hermetic.variables({**MACHINE, "RESSEARCH_CACHE": os.environ["RESSEARCH_CACHE"]}):
        yield


@pytest.fixture(scope="session")
def small_study() -> Study:
    return Study.from_dict(SMALL)


@pytest.fixture(scope="session")
def _small_run(tmp_path_factory: pytest.TempPathFactory, small_study: Study, worker_id: str) -> Path:
    """The directory of the small study, run once for all processes of a test run, or once for all where
    TESTS_SMALL_RUN says."""
    base = tmp_path_factory.getbasetemp()
    directory = Path(os.environ.get("TESTS_SMALL_RUN") or (base if worker_id == "master" else base.parent) / "small")
    with FileLock(f"{directory}.lock"):
        if not directory.exists():
            ressearch.run(small_study, tmp_path_factory.mktemp("runs") / "small").rename(directory)
    return directory


@pytest.fixture
def small_run(_small_run: Path, tmp_path: Path) -> Path:
    """A copy of the directory of a study of 2 skips x 2 depths, run once per session."""
    return Path(shutil.copytree(_small_run, tmp_path / "small"))


@pytest.fixture
def ray_started() -> None:
    """Ray, started once for all tests of a process: studies find it running and leave it so."""
    import ray

    from ressearch.search.cluster import start_ray

    if not ray.is_initialized():
        start_ray()


@pytest.fixture
def no_ray() -> Iterator[None]:
    """No Ray that an earlier test started: workers see the environment as it is now."""
    import ray

    ray.shutdown()
    yield
    ray.shutdown()
