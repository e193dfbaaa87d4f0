"""How a run is carried out: what is asked first, who is told, what is written where; without Ray, by stand-ins."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import pytest

from ressearch import Study, signals
from ressearch.errors import StudyError
from ressearch.results import Store
from ressearch.results.run_file import read_run
from ressearch.search import runner
from ressearch.search.changes import Change
from ressearch.search.monitor import Monitor
from ressearch.search.resources import Slots
from ressearch.search.weights import Keeper
from ressearch.training.choose import Choice

TEXT = """\
name: mine
space: {grid: {depth: [8, 14], width: 4}}
data: {name: synthetic}
recipe: {epochs: 2}
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "study.yaml").write_text(TEXT)
    return Study.from_file(tmp_path / "study.yaml")


class Told(Monitor):
    """Notes what it was told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    @contextlib.contextmanager
    def watching(self, study: Study, directory: Path) -> Iterator[None]:
        self.events.append(("watching", study, directory))
        yield
        self.events.append(("watched",))

    def begins(self, rows: Any, concurrency: int) -> None:
        self.events.append(("begins", dict(rows), concurrency))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked of Ray and of Tune; a study has two phases, each of which ends at once."""
    made: list[tuple[Any, ...]] = []

    @contextlib.contextmanager
    def ray_running(address: str | None) -> Iterator[None]:
        made.append(("ray", address))
        yield

    def tune(
        study: Study, phase: Any, directory: Path, store: Store, monitor: Any, slots: Slots, keeper: Keeper
    ) -> None:
        assert isinstance(keeper, Keeper)
        made.append(("tune", study, phase.name, directory, monitor, slots))
        store.finish(phase.name, "made so")

    def phases(study: Study, store: Store, directory: Path) -> Iterator[Any]:
        made.append(("phases", study, store.directory, directory))
        yield SimpleNamespace(name="search")
        yield SimpleNamespace(name="baseline")

    monkeypatch.setattr(runner, "ray_running", ray_running)
    monkeypatch.setattr(runner, "cluster_size", lambda address: (6, 0) if address is None else (12, 0))
    monkeypatch.setattr(runner, "available", lambda address: (12, 0))
    monkeypatch.setattr(runner, "phases", phases)
    monkeypatch.setattr(runner, "_tune", tune)
    return made


def test_every_phase_is_handed_to_tune_with_the_monitor_and_what_a_trial_gets(
    study: Study, asked: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    out, monitor = tmp_path / "out", Told()
    assert runner.run(study, out, monitor, address="head:6379") == out
    slots = Slots(1.0, 0.0, 12)
    assert asked == [
        ("ray", "head:6379"),
        ("phases", study, out, out),
        ("tune", study, "search", out, monitor, slots),
        ("tune", study, "baseline", out, monitor, slots),
    ]
    assert monitor.events == [("watching", study, out), ("begins", {}, 12), ("watched",)]
    found = read_run(out)
    assert (found["concurrency"], found["cpus_per_trial"], found["gpus_per_trial"]) == (12, 1.0, 0.0)


def test_without_a_monitor_nobody_is_told(study: Study, asked: list[tuple[Any, ...]], tmp_path: Path) -> None:
    runner.run(study, tmp_path / "out")
    assert asked[0] == ("ray", None)
    assert [type(one[4]) for one in asked if one[0] == "tune"] == [Monitor, Monitor]
    assert asked[-1][5] == Slots(1.0, 0.0, 6)


def test_what_a_run_repeats_is_on_its_record_and_put_back_before_anything_trains(
    study: Study, asked: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeated(directory: Any, again: Study) -> dict[str, Choice]:
        assert (directory, again) == (tmp_path / "first", study)
        return {"a shape": Choice(True, False)}

    put: list[Any] = []
    monkeypatch.setattr(runner, "repeated", repeated)
    monkeypatch.setattr(
        runner, "put_back", lambda store, record, place: put.append((store.directory, record["choices"], place))
    )
    runner.run(study, tmp_path / "out", repeat=tmp_path / "first")
    found = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (found["repeats"], found["choices"]) == (str(tmp_path / "first"), {"a shape": [True, False]})
    assert put == [(tmp_path / "out", {"a shape": Choice(True, False)}, f"{tmp_path / 'out'}/checkpoints")]


def test_memory_is_looked_at_here_and_a_cluster_is_asked_for_its_size(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(runner, "known_networks", lambda study: (["a network"], True))
    monkeypatch.setattr(runner, "price", lambda study, networks: ("price", networks))
    monkeypatch.setattr(runner, "require_fit", lambda *given: asked.append(("fit", *given)))
    monkeypatch.setattr(runner, "available", lambda address: (address, 3))
    monkeypatch.setattr(runner, "trial_resources", lambda *given: asked.append(given) or "slots")
    runner._require_resources(study, None)
    runner._require_resources(study, "head:6379")
    assert asked == [(study,), ("fit", study, ("price", ["a network"]), "slots"), (study, "head:6379", 3)]


def test_a_study_is_asked_for_all_it_needs_before_anything_is_written(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[Any] = []
    monkeypatch.setattr(runner, "load_shipped", lambda plugins: order.append(("plugins", plugins)))
    monkeypatch.setattr(Study, "require_as_read", lambda self: order.append("as read"))
    monkeypatch.setattr(runner, "_require_known_elsewhere", lambda asking: order.append(("known", asking)))
    monkeypatch.setattr(Study, "require_data", lambda self: order.append("data"))
    monkeypatch.setattr(runner, "_require_resources", lambda *given: order.append(("resources", *given)))
    monkeypatch.setattr(runner, "require_storage", lambda *given: order.append(("storage", *given)))
    monkeypatch.setattr(runner, "_run", lambda *given, **further: order.append(("run", given, further)) or given[1])
    monitor = Monitor()
    assert runner.run(study, str(tmp_path / "out"), monitor, "auto") == tmp_path / "out"
    assert order == [
        ("plugins", ()),
        "as read",
        ("known", study),
        "data",
        ("resources", study, "auto"),
        ("storage", None, "mine", f"{tmp_path / 'study.yaml'}: search.storage"),
        ("run", (study, tmp_path / "out", monitor, "auto"), {"further": {}}),
    ]


def full(*given: Any, **named: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("ressearch.durable.replace_text", "out"),
        ("ressearch.search.runner.keep", "out"),
        ("ressearch.search.runner.Store", "out"),
    ],
)
def test_a_directory_that_takes_no_file_is_said_in_one_line(
    study: Study, asked: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    monkeypatch.setattr(place, full)
    with pytest.raises(StudyError) as caught:
        runner.run(study, tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: cannot be written: no space left on device"
    assert asked == []


def test_an_error_without_words_of_its_own_is_said_by_its_text(tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught, runner._writing(tmp_path):
        raise OSError("Out Of Reach")
    assert str(caught.value) == f"{tmp_path}: cannot be written: out of reach"


def test_a_directory_is_held_against_other_processes_until_it_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience: list[float] = []
    acquire = filelock.FileLock.acquire

    def noted(self: Any, *, timeout: float) -> Any:
        patience.append(timeout)
        return acquire(self, timeout=0)

    monkeypatch.setattr(filelock.FileLock, "acquire", noted)
    other = filelock.FileLock(tmp_path / ".lock", is_singleton=False)
    acquire(other)
    with pytest.raises(StudyError) as caught, runner._locked(tmp_path):
        pass
    assert str(caught.value) == f"{tmp_path}: another process works on this study; wait for it, or end it first"
    other.release()
    with contextlib.suppress(ZeroDivisionError), runner._locked(tmp_path):
        with pytest.raises(filelock.Timeout):
            acquire(other, timeout=0)
        raise ZeroDivisionError
    acquire(other, timeout=0)
    other.release()
    assert patience == [1.0, 1.0]


class Mirrored:
    """Stands in for the mirror of a directory behind a URL."""

    def __init__(self, local: Path) -> None:
        self.url, self.local, self.calls = "s3://bucket/mine", local, [""][:0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **named: self.calls.append(name)

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        self.calls.append("owned")
        yield
        self.calls.append("let go")


def test_a_run_behind_a_url_is_owned_and_finished_and_leaves_no_checkpoints(
    study: Study, asked: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirrored(tmp_path / "local")
    monkeypatch.setattr(runner, "Mirror", lambda url: mirror if url == mirror.url else None)
    monkeypatch.setattr(runner, "_carry_out", lambda *given: asked.append(given))
    assert runner.run(study, mirror.url) == mirror.url
    assert mirror.calls == ["require_empty", "owned", "require_empty", "let go"]
    (given,) = asked
    assert (given[0], given[1], given[3], given[4], given[5]) == (study, tmp_path / "local", None, None, mirror)


@pytest.mark.parametrize("ends", [True, False])
def test_what_is_interrupted_or_fails_behind_a_url_is_named_by_it(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    mirror: Any = Mirrored(tmp_path)
    monkeypatch.setattr(runner, "put_back", lambda *given: None)

    def run_phases(
        study: Any, directory: Any, record: Any, store: Store, monitor: Any, address: Any, keeper: Keeper
    ) -> str | None:
        assert (directory, monitor.__class__, address) == (tmp_path, Monitor, "auto")
        if ends:
            store.finish("search", "made so")
        return None if ends else "5 of 5 trials failed"

    monkeypatch.setattr(runner, "_run_phases", run_phases)
    record = {**runner._describe(study)}
    if ends:
        assert runner._carry_out(study, tmp_path, record, None, "auto", mirror) == tmp_path
        assert mirror.calls[-2:] == ["finish", "remove_checkpoints"]
        return
    with pytest.raises(StudyError) as caught:
        runner._carry_out(study, tmp_path, record, None, "auto", mirror)
    assert str(caught.value) == (
        f"{tmp_path}: 5 of 5 trials failed; what was done is kept: `ressearch resume s3://bucket/mine` goes on"
    )
    assert "remove_checkpoints" not in mirror.calls
    assert mirror.calls[-1] == "finish"


def test_a_signal_that_came_is_the_one_that_is_passed_on(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "put_back", lambda *given: None)
    monkeypatch.setattr(runner, "_run_phases", lambda *given: None)
    monkeypatch.setattr(signals, "asked", lambda: 15)
    with pytest.raises(signals.Interrupted) as caught:
        runner._carry_out(study, tmp_path, runner._describe(study), None, None)
    assert caught.value.number == 15
    assert str(tmp_path) in str(caught.value)
    found = read_run(tmp_path)
    assert (found["is_complete"], found["planned_trials"], found["study"]["recipe"]["epochs"]) == (False, 2, 2)


def test_changes_are_written_down_before_anything_trains(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "put_back", lambda *given: None)
    monkeypatch.setattr(runner, "_run_phases", lambda *given: given[3].finish("search", "made so"))
    runner._carry_out(study, tmp_path, runner._describe(study), None, None, None, [Change("question", "", "Why?")])
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    (first,) = (line for line in lines if line["event"] == "change")
    assert {key: first[key] for key in ("event", "key", "old", "new")} == {
        "event": "change",
        "key": "question",
        "old": "",
        "new": "Why?",
    }


def test_a_resumed_study_is_read_as_the_user_names_it_and_asked_for_all_it_needs(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[Any] = []
    reads = SimpleNamespace(stated={"seed": 0}, require_data=lambda: order.append("data"))
    monkeypatch.setattr(runner, "require_study", lambda *given: order.append(("study", *given)))
    monkeypatch.setattr(runner, "_is_complete", lambda path: False)
    monkeypatch.setattr(runner.Study, "from_directory", lambda *given: order.append(("read", *given)) or reads)
    monkeypatch.setattr(runner, "_require_resources", lambda one, address: order.append(("resources", address)))
    monkeypatch.setattr(runner, "read_run", lambda path: {"resumed_at": ["before"], "split_fingerprint": "x"})
    monkeypatch.setattr(runner, "read_tables", lambda path: (f"the tables of {path.name}", None))
    monkeypatch.setattr(runner.changes, "changes_of", lambda one, stated, run: ["changed"] if stated else [])
    monkeypatch.setattr(runner.changes, "accept", lambda one, *given: order.append(("accept", *given)))
    monkeypatch.setattr(runner.changes, "require_same_data", lambda one, run, name: order.append(("same", name)))
    monkeypatch.setattr(runner, "_carry_out", lambda one, *given: order.append(("carry out", *given)))
    monitor, mirror = Monitor(), Mirrored(tmp_path)
    given = (tmp_path, "mine", monitor, "auto", True, False, None, mirror)
    assert runner._resume(*given) == "mine"  # type: ignore[arg-type]
    *others, (_, path, record, *rest) = order
    assert others == [
        ("study", tmp_path, "mine"),
        ("read", tmp_path, False, None, "mine"),
        "data",
        ("resources", "auto"),
        ("accept", ["changed"], f"the tables of {tmp_path.name}", True, "mine"),
        ("same", "mine"),
    ]
    assert (path, rest) == (tmp_path, [monitor, "auto", mirror, ["changed"]])
    assert record["resumed_at"][0] == "before"
    assert len(record["resumed_at"]) == 2
    assert (record["ended_at"], record["is_complete"], record["record"]) == (None, False, 2)


def test_a_study_behind_a_url_is_pulled_and_owned_while_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirrored(tmp_path)
    mirror.pull = lambda: tmp_path / "local"  # type: ignore[attr-defined]
    monkeypatch.setattr(runner, "Mirror", lambda url: mirror if url == mirror.url else None)
    monkeypatch.setattr(runner, "_resume", lambda *given: given)
    monitor = Monitor()
    found: Any = runner.resume(mirror.url, monitor, "auto", True, True)
    assert found == (tmp_path / "local", mirror.url, monitor, "auto", True, True, None, mirror)
    assert mirror.calls == ["require_some", "owned", "let go"]
    assert runner.resume("mine", monitor) == (Path("mine"), "mine", monitor, None, False, False, None)


def test_a_study_that_ended_is_complete_unless_its_file_asks_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "read_run", lambda path: {"of": path})
    monkeypatch.setattr(runner, "read_tables", lambda path: ("tables", None))

    def complete(is_complete: bool, changed: Any) -> bool:
        def changes_of_file(path: Path, run: Any) -> Any:
            assert (path, run) == (tmp_path, {"of": tmp_path})
            if changed is None:
                raise StudyError("is no study file of this version")
            return changed

        monkeypatch.setattr(runner, "progress", lambda run, tables: SimpleNamespace(is_complete=is_complete))
        monkeypatch.setattr(runner.changes, "changes_of_file", changes_of_file)
        return runner._is_complete(tmp_path)

    found = [complete(*one) for one in ((True, []), (True, ["changed"]), (True, None), (False, []))]
    assert found == [True, False, True, False]
