"""What a run writes besides its trials, whose directory it takes, and when it ends; without Ray."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import ressearch
from ressearch import Study, plugins, signals
from ressearch.errors import DataError, StudyError
from ressearch.results import Store
from ressearch.results.run_file import read_run, write_run
from ressearch.search import runner
from ressearch.search.monitor import Monitor
from ressearch.search.resources import Slots
from ressearch.search.weights import Keeper

TEXT = """\
name: mine
question: Which?
space: {grid: {depth: [8, 11], block: [basic, bottleneck], width: 4}}
data: {name: synthetic}
recipe: {epochs: 2}
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "study.yaml").write_text(TEXT)
    return Study.from_file(tmp_path / "study.yaml", ["recipe.epochs=3"])


class World:
    """Phases that end as they are told to, and what was asked meanwhile."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.phases = ["search"]
        self.failure: str | None = None
        self.does: Any = lambda store, phase: store.finish(phase, "made so")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    @contextlib.contextmanager
    def ray_running(address: str | None) -> Iterator[None]:
        made.asked.append(("ray", address))
        yield

    def tune(
        study: Study, phase: Any, directory: Path, store: Store, monitor: Monitor, slots: Slots, keeper: Keeper
    ) -> str | None:
        made.asked.append(("tune", phase.name))
        made.does(store, phase.name)
        return made.failure

    monkeypatch.setattr(runner, "ray_running", ray_running)
    monkeypatch.setattr(runner, "cluster_size", lambda address: (4, 0))
    monkeypatch.setattr(runner, "phases", lambda *given: (SimpleNamespace(name=name) for name in made.phases))
    monkeypatch.setattr(runner, "_tune", tune)
    return made


def test_run_json_says_what_ran_where_and_with_what(study: Study, world: World, tmp_path: Path) -> None:
    out = runner.run(study, tmp_path / "out")
    assert out == tmp_path / "out"
    found = read_run(tmp_path / "out")
    assert (tmp_path / "out" / "study.yaml").read_text() == TEXT
    times = [found.pop(key) for key in ("started_at", "ended_at")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", time) for time in times)
    assert found.pop("active_seconds") >= 0
    assert isinstance(found.pop("command"), str)
    versions = found.pop("versions")
    assert set(versions) == {"ressearch", "python", "torch", "ray", "optuna", "pandas", "numpy", "scikit-learn"}
    assert (versions["torch"], versions["ressearch"]) == (importlib.metadata.version("torch"), ressearch.__version__)
    machine = found.pop("machine")
    assert set(machine) == {"system", "cpu_cores", "gpus"}
    assert machine["system"] == f"{os.uname().sysname} {os.uname().machine}"
    counts = torch.bincount(study.dataset.labels).tolist()
    splits = study.splits()
    assert found == {
        "name": "mine",
        "question": "Which?",
        "overrides": {"recipe.epochs": "3"},
        "plugins": {},
        "installed_plugins": found["installed_plugins"],
        "study": study.model_dump(mode="json"),
        "stated": {
            "name": "mine",
            "question": "Which?",
            "space": {"grid": {"depth": [8, 11], "block": ["basic", "bottleneck"], "width": 4}},
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 3},
        },
        "planned_trials": 2,
        "refused_points": {
            "depth 11 is not 6n+2 (basic blocks in 3 stages); nearest: 8 or 14": 1,
            "depth 8 is not 9n+2 (bottleneck blocks in 3 stages); nearest: 11": 1,
        },
        "split_fingerprint": splits.fingerprint,
        "data_content": study.dataset.content,
        "input_shape": [1, 8, 8],
        "num_classes": 3,
        "data_source": study.dataset.source,
        "class_counts": dict(zip(study.dataset.classes, counts, strict=True)),
        "memory": study.dataset.memory,
        "examples": {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)},
        "concurrency": 4,
        "cpus_per_trial": 1.0,
        "gpus_per_trial": 0.0,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "is_complete": True,
        "record": 2,
    }
    assert world.asked == [("ray", None), ("tune", "search")]


def test_a_study_whose_phase_did_not_end_is_interrupted_and_no_further_phase_begins(
    study: Study, world: World, tmp_path: Path
) -> None:
    world.phases = ["search", "final"]
    world.does = lambda store, phase: None
    with pytest.raises(signals.Interrupted) as caught:
        runner.run(study, tmp_path / "out")
    assert world.asked == [("ray", None), ("tune", "search")]
    out = tmp_path / "out"
    assert str(caught.value) == f"interrupted; what was done is kept: `ressearch resume {out}` goes on"
    assert caught.value.number == signal.SIGINT
    found = read_run(tmp_path / "out")
    assert found["is_complete"] is False
    assert found["ended_at"] is not None


def test_a_study_that_makes_no_sense_ends_with_the_reason_and_how_to_go_on(
    study: Study, world: World, tmp_path: Path
) -> None:
    world.failure = "5 of 5 trials failed"
    out = tmp_path / "out"
    with pytest.raises(StudyError) as caught:
        runner.run(study, out)
    assert str(caught.value) == (
        f"{out}: 5 of 5 trials failed; what was done is kept: `ressearch resume {out}` goes on"
    )


def test_what_trains_when_a_run_ends_is_interrupted_and_its_checkpoint_kept(
    study: Study, world: World, tmp_path: Path
) -> None:
    from ressearch import cost

    network = next(iter(study.search_space.enumerate()))

    def does(store: Store, phase: str) -> None:
        store.start(0, network, cost(network, (1, 8, 8), 3), study.recipe.model_dump_json(), (0,), 0.1, phase="search")
        (store.directory / "checkpoints").mkdir()
        (store.directory / "checkpoints" / "trial-0.pt").write_text("kept")
        (store.directory / ".tune").mkdir()

    world.does = does
    out = tmp_path / "out"
    with pytest.raises(signals.Interrupted):
        runner.run(study, out)
    (row,) = ressearch.load(out).trials.to_dict("records")
    assert (row["status"], row["reason"]) == ("interrupted", "the study was stopped after epoch 0")
    assert (out / "checkpoints" / "trial-0.pt").exists()
    assert not (out / ".tune").exists()

    def ends(store: Store, phase: str) -> None:
        store.end(0, "completed", None)
        store.finish("search", "enough")

    world.does = ends
    world.asked.clear()
    assert runner.resume(out) == out
    assert not (out / "checkpoints").exists()  # nothing is left to go on with
    found = read_run(out)
    assert found["is_complete"]
    assert len(found["resumed_at"]) == 1
    assert runner.resume(out) == out  # complete: left as it is
    assert world.asked == [("ray", None), ("tune", "search")]


def test_a_resumed_record_is_this_process_and_keeps_what_it_was(study: Study, world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    world.does = lambda store, phase: None
    with pytest.raises(signals.Interrupted):
        runner.run(study, out)
    began = read_run(out)
    write_run(out, {**began, "host": "elsewhere", "pid": 1, "record": None})
    world.does = lambda store, phase: store.finish(phase, "made so")
    runner.resume(out)
    found = read_run(out)
    assert (found["host"], found["pid"], found["record"]) == (socket.gethostname(), os.getpid(), 2)
    assert found["started_at"] == began["started_at"]
    assert found["overrides"] == began["overrides"]


def made(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize(
    ("files", "holds"),
    [
        ({}, None),
        ({".lock": "", "run.json.part": ""}, None),
        ({"study.yaml": TEXT}, None),
        ({"study.yaml": TEXT + "# another"}, "is not empty"),
        ({"notes.txt": "mine"}, "is not empty"),
        ({"run.json": "{}"}, "holds a study already"),
    ],
)
def test_a_directory_that_holds_anything_of_anybody_is_not_taken(
    study: Study, tmp_path: Path, files: dict[str, str], holds: str | None
) -> None:
    out = made(tmp_path / "out", files)
    if holds is None:
        runner._claim(out, study)
        return
    with pytest.raises(StudyError) as caught:
        runner._claim(out, study)
    goes_on = f"`ressearch resume {out}` goes on with it, " if holds.startswith("holds") else ""
    assert str(caught.value) == (
        f"{out}: {holds}; nothing was overwritten: {goes_on}--out names another directory, "
        "`ressearch status` and `report` read this one as it is"
    )
    assert {file.name: file.read_text() for file in out.iterdir()} == files


def test_a_directory_is_made_with_those_above_it_and_a_file_is_none(study: Study, tmp_path: Path) -> None:
    runner._claim(tmp_path / "a" / "b" / "c", study)
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"file: is not empty"):
        runner._claim(tmp_path / "file", study)
    with pytest.raises(StudyError, match=r"file/out: cannot be made: not a directory$"):
        runner._claim(tmp_path / "file" / "out", study)


def test_without_a_directory_a_study_runs_into_its_name_under_runs(
    study: Study, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert runner.run(study) == Path("runs/mine")
    assert runner.run(str(tmp_path / "study.yaml"), "other") == Path("other")
    assert read_run(Path("other"))["study"]["recipe"]["epochs"] == 2


def test_what_is_no_data_set_is_named(study: Study, tmp_path: Path) -> None:
    for act in (lambda: runner.run(study, tmp_path / "out", data=[1]), lambda: runner.resume(tmp_path, data=[1])):  # type: ignore[arg-type]
        with pytest.raises(DataError) as caught:
            act()
        assert str(caught.value) == (
            "data: a list is no data set; expected what ressearch.data.from_arrays(inputs, labels) returns"
        )


def test_a_budget_that_is_spent_ends_the_open_trials_of_its_phase_alone(study: Study, tmp_path: Path) -> None:
    from ressearch import cost

    network = next(iter(study.search_space.enumerate()))
    store = Store(tmp_path)
    for number, phase in enumerate(["search", "search", "search", "final"]):
        store.start(
            number, network, cost(network, (1, 8, 8), 3), study.recipe.model_dump_json(), (0,), 0.1, phase=phase
        )
    store.end(0, "completed", None)
    store.end(1, "interrupted", "stopped")
    runner._end_spent(store, SimpleNamespace(name="search"), "the budget is spent")  # type: ignore[arg-type]
    rows = store.tables.trials
    assert [rows[number]["status"] for number in range(4)] == ["completed", "stopped", "stopped", "running"]
    assert rows[1]["reason"] == "the budget is spent, after epoch 0"
    assert store.tables.finished == {"search": "the budget is spent"}
    store.close()


def test_tunes_pending_trials_are_set_for_a_phase_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "TUNE_MAX_PENDING_TRIALS_PG"
    monkeypatch.delenv(key, raising=False)
    with runner._pending(None):
        assert key not in os.environ
    with contextlib.suppress(ZeroDivisionError), runner._pending(17):
        assert os.environ[key] == "17"
        raise ZeroDivisionError
    assert key not in os.environ
    monkeypatch.setenv(key, "3")  # somebody's own
    with runner._pending(17):
        assert os.environ[key] == "3"
    assert os.environ[key] == "3"


def test_every_text_of_a_study_is_looked_at_for_names() -> None:
    values = {"space": [{"skip": {"scaled": {"alpha": 1}}}, "basic"], "n": 3, "t": ("flip", None)}
    assert sorted(runner._words(values)) == ["alpha", "basic", "flip", "n", "scaled", "skip", "space", "t"]


def test_the_time_is_utc_to_the_second() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", runner._utc())
    assert json.dumps(runner._utc())


def test_what_this_process_alone_knows_is_named_before_anything_is_written(tmp_path: Path) -> None:
    from ressearch.networks.blocks import BLOCKS

    def mine() -> None:
        """Stand for the maker of a block."""

    with plugins.isolated():
        BLOCKS.add("mine", BLOCKS["basic"], maker=mine)
        known = Study.from_dict({"space": {"grid": {"block": ["basic", "mine"], "depth": 8, "width": 2}}})
        with pytest.raises(StudyError) as caught:
            runner.run(known, tmp_path / "out")
    assert str(caught.value) == (
        f"blocks: 'mine' comes from {__name__}, which the processes that train do not know: put it into a file or "
        "module and name that in the study's `plugins`"
    )
    assert not (tmp_path / "out").exists()
