"""The store: what it writes and when, and what is read back; and the columns of the tables."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clocks import Clock
from results.made import RUN, end, epoch, point, start, told

from ressearch import Architecture, cost
from ressearch.errors import StudyError
from ressearch.results import store as stores
from ressearch.results.store import Results, Store, load, read_tables, replay, to_record

NETWORK = Architecture(depths=(1,), widths=(4,))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stores, "time", clock)
    return clock


def recorded(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]


def test_what_happens_is_written_line_by_line(tmp_path: Path, clock: Clock) -> None:
    store = Store(tmp_path)
    store.start(3, NETWORK, cost(NETWORK), '{"epochs": 1}', (0, 1), 0.1, devices=2.0, phase="final")
    store.epoch(3, iter([point(1, 0), point(1, 1)]), device="cpu")
    clock.now += 2
    store.end(3, "interrupted", "why", test_loss=0.5)
    store.reopen(3, devices=1.0)
    store.finish("search", "spent")
    store.finish("search", "again")
    store.change("search.trials", 3, 4)
    store.finish("search", "once more")
    made = recorded(tmp_path)
    at = 1_000_000
    ended = {"ended_at": at + 2000, "test_loss": 0.5}
    assert made[0] == {"event": "session", "at": at}
    assert made[1].items() >= {
        "event": "start", "at": at, "trial": 3, "name": "basic-d1-w4", "started_at": at, "depth": NETWORK.depth,
        "recipe": '{"epochs": 1}', "seeds": [0, 1], "lr": 0.1, "devices": 2.0, "phase": "final",
        **cost(NETWORK)._asdict(), "depths": [1], "widths": [4], "skip_options": "{}", "kernel_size": [3],
    }.items()  # fmt: skip
    assert made[2:] == [
        {"event": "epoch", "at": at, "trial": 3, "results": [point(1, 0), point(1, 1)], "device": "cpu"},
        {"event": "end", "at": at + 2000, "trial": 3, "status": "interrupted", "reason": "why", **ended},
        {"event": "reopen", "at": at + 2000, "trial": 3, "devices": 1.0},
        {"event": "finish", "at": at + 2000, "phase": "search", "reason": "spent"},
        {"event": "change", "at": at + 2000, "key": "search.trials", "old": 3, "new": 4},
        {"event": "finish", "at": at + 2000, "phase": "search", "reason": "once more"},
    ]  # fmt: skip
    store.close()
    assert replay(tmp_path / "journal.jsonl").trials == store.tables.trials


def test_time_is_counted_up_to_now_and_not_between_processes(tmp_path: Path, clock: Clock) -> None:
    store = Store(tmp_path)
    assert store.active_seconds == 0.0
    clock.now += 2.5
    assert store.active_seconds == 2.5
    store.finish("search", "spent")
    clock.now += 1
    assert store.active_seconds == 3.5
    store.close()
    clock.now += 100
    again = Store(tmp_path)
    assert again.active_seconds == 2.5
    clock.now += 1
    assert again.active_seconds == 3.5


@pytest.mark.parametrize(
    ("known", "count", "numbers"),
    [
        ([], 2, [0, 1]),
        ([("search", 3)], 2, [3, 4]),
        ([("search", 1)], 0, []),
        ([("search", 2), ("final", 2)], 2, [2, 3]),  # begun by an older version, that planned without a record
        ([("search", 2), ("final", 2)], 3, [2, 3, 4]),
        ([("search", 2), ("final", 3)], 2, [2, 3]),
        ([("search", 2), ("final", 2), ("search", 1)], 3, [2, 3, 5]),
    ],
)
def test_planned_trials_get_the_next_numbers(known: list[Any], count: int, numbers: list[int], tmp_path: Path) -> None:
    store, trial = Store(tmp_path), 0
    for phase, trials in known:
        for _ in range(trials):
            store.tables.apply(start(trial, phase=phase))
            trial += 1
    assert store.plan("final", count) == numbers
    assert store.plan("final", count) == numbers
    assert [(one["phase"], one["trials"]) for one in recorded(tmp_path)[1:]] == [("final", numbers)]
    store.change("search.finalists.count", 1, 2)
    assert store.plan("final", count) == numbers
    assert [one["event"] for one in recorded(tmp_path)[2:]] == ["change", "plan"]  # the change unsettled the plan


def test_a_plan_that_grows_or_has_gaps_keeps_its_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for trial, phase in ((0, "search"), (2, "final"), (5, "search"), (4, "final")):
        store.tables.apply(start(trial, phase=phase))
    assert store.plan("final", 3) == [2, 3, 4]
    assert store.plan("baseline", 2) == [6, 7]
    assert store.plan("final", 5) == [2, 3, 4, 8, 9]
    assert store.plan("final", 2) == [2, 3]


class Counted:
    """Stands for `durable.Appender`: what was appended and whether it was forced to the disk; may fail."""

    def __init__(self, path: Path) -> None:
        self.appended: list[tuple[str, bool]] = []
        self.fails = self.is_closed = False

    def append(self, record: bytes, is_synced: bool) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")
        assert record.endswith(b"\n")
        self.appended.append((json.loads(record)["event"], is_synced))

    def close(self) -> None:
        self.is_closed = True
        if self.fails:
            raise OSError(5, "Input/output error")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores.durable, "Appender", Counted)


def trained(store: Store, trial: int) -> None:
    store.start(trial, NETWORK, cost(NETWORK), "{}", (0,), 0.1)
    store.epoch(trial, [point(1)])
    store.end(trial, "completed", None)


def test_what_must_outlast_a_power_cut_is_forced_to_the_disk(tmp_path: Path, counted: None) -> None:
    store: Any = Store(tmp_path)
    trained(store, 0)
    store.reopen(0)
    store.plan("final", 1)
    store.finish("search", "spent")
    store.change("a", 1, 2)
    synced = dict(store._journal.appended)
    assert synced == {
        "session": True,
        "start": False,
        "epoch": False,
        "end": True,
        "reopen": False,
        "plan": True,
        "finish": True,
        "change": True,
    }


def test_after_the_first_failure_nothing_is_written(tmp_path: Path, counted: None) -> None:
    store: Any = Store(tmp_path)
    assert store.broken is None
    store._journal.fails = True
    store.finish("search", "spent")
    first = store.broken
    assert (first.strerror, store.tables.finished) == ("No space left on device", {})
    store._journal.fails = False
    store.finish("search", "spent")
    store.change("a", 1, 2)
    assert store._journal.appended == [("session", True)]
    store._journal.fails = True
    store.close()
    assert store.broken is first
    assert store._journal.is_closed
    store = Store(tmp_path)
    store._journal.fails = True
    store.close()
    assert store.broken.strerror == "Input/output error"


def test_tables_that_cannot_be_written_break_the_store_but_close_the_journal(
    tmp_path: Path, counted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = Store(tmp_path)

    def fail(directory: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.tables, "write", fail)
    store.close()
    assert (store.broken.errno, store._journal.is_closed) == (28, True)


def test_tables_are_written_at_the_end_of_trials_at_most_a_tenth_of_the_time(
    tmp_path: Path, clock: Clock, counted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = Store(tmp_path)
    writes: list[float] = []
    takes = [0.0]

    def write(directory: Path) -> None:
        assert directory == tmp_path
        writes.append(clock.now)
        clock.now += takes[0]

    monkeypatch.setattr(store.tables, "write", write)
    for trial, (pause, seconds, count) in enumerate(
        [(0.0, 0.0, 1), (0.5, 0.0, 1), (0.5, 0.0, 1), (0.01, 0.5, 2), (4.9, 0.5, 2), (0.05, 0.5, 2), (0.1, 0.0, 3)]
    ):
        takes[0] = seconds
        clock.now += pause
        trained(store, trial)
        assert len(writes) == count, trial
    store.epoch(0, [point(2)])
    assert len(writes) == 3
    store.close()
    assert len(writes) == 4


def test_a_mirror_is_told_of_every_event_and_hurried_by_ends(tmp_path: Path, counted: None) -> None:
    pushed: list[bool] = []
    mirror: Any = SimpleNamespace(push=lambda force: pushed.append(force))
    store = Store(tmp_path, mirror)
    trained(store, 0)
    assert pushed == [False, False, False, True]
    mirror.push = None

    def lost(force: bool) -> None:
        raise OSError(None, "another process has taken the study over")

    mirror.push = lost
    store.finish("search", "spent")
    assert store.broken is not None
    assert store.broken.strerror == "another process has taken the study over"


def told_to(directory: Path, *events: dict[str, Any]) -> None:
    (directory / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def test_a_store_gives_its_journal_back_what_the_tables_hold(tmp_path: Path) -> None:
    told(start(), epoch(), end(), start(1), epoch(1)).write(tmp_path)
    told_to(tmp_path, start(), epoch())
    tables, notes = read_tables(tmp_path)
    said = "journal.jsonl lacks what 2 trials reached, which trials.parquet holds: taken from there"
    assert (notes, sorted(tables.trials), tables.trials[0]["status"]) == ((said,), [0, 1], "completed")
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    assert load(tmp_path).notes == (said,)
    store = Store(tmp_path)
    store.close()
    made = recorded(tmp_path)
    assert [(one["event"], one.get("trial")) for one in made[2:]] == [("session", None), ("restore", 0), ("restore", 1)]
    assert [len(one["curves"]) for one in made[3:]] == [2, 2]
    assert read_tables(tmp_path)[1] == ()
    assert store.tables.trials[0]["status"] == "completed"
    assert len(store.tables.curves) == 4
    (tmp_path / "journal.jsonl").unlink()
    tables, notes = read_tables(tmp_path)
    assert (sorted(tables.trials), notes) == ([0, 1], ())  # tables alone are no damage


def test_events_that_cannot_follow_each_other_are_damage(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    told_to(tmp_path, start(), epoch(number=3))
    with pytest.raises(StudyError) as caught:
        replay(journal)
    assert str(caught.value) == f"{journal}:2: damaged line: trial 0 tells epoch 3 after 0"
    far = {"val_accuracy": 1e308}  # a number of the right type whose mean is beyond all numbers
    told_to(tmp_path, start(), epoch(results=[{**point(1), **far}, {**point(1, 1), **far}]))
    with pytest.raises(StudyError, match=r"journal\.jsonl:2: damaged line: intermediate overflow"):
        replay(journal)


def test_a_store_mends_a_journal_whose_last_line_was_cut(tmp_path: Path) -> None:
    told_to(tmp_path, start())
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"event": "e')
    Store(tmp_path).close()
    assert [one["event"] for one in recorded(tmp_path)] == ["start", "session"]


def study(directory: Path, *events: dict[str, Any], **run: Any) -> Results:
    (directory / "run.json").write_text(json.dumps({**RUN, **run}))
    if events:
        told_to(directory, *events)
    return load(directory)


def test_a_study_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_bytes(b"name: \xff\n")
    events = (start(), epoch(), end(), start(1), start(2, phase="final"), epoch(2), end(2, "failed", reason="why"))
    found = study(tmp_path, *events, ended_at="2026", cpus_per_trial=2.0, examples={"train": 5})
    assert found.directory == tmp_path
    assert found.study_text == "name: \ufffd\n"
    assert found.run == {**RUN, "ended_at": "2026", "cpus_per_trial": 2.0, "examples": {"train": 5}}
    assert found.trials["status"].tolist() == ["completed", "interrupted", "failed"]
    assert found.trials["reason"].fillna("").tolist() == ["", "the study's process ended", "why"]
    assert found.trials["device_seconds"].tolist() == [12.0, 0.0, 12.0]
    assert (found.progress.ended, found.progress.missing, found.notes) == (2, ("search",), ())
    trials, curves = found
    assert trials is found.trials
    assert curves is found.curves
    final = found.phase("final")
    assert (final.trials["trial"].tolist(), final.curves["trial"].tolist(), final.run) == ([2], [2, 2], found.run)
    assert found.phase("search", "final").trials["trial"].tolist() == [0, 1, 2]
    assert load(str(tmp_path)).directory == tmp_path
    (tmp_path / "study.yaml").unlink()
    assert load(tmp_path).study_text == ""


def test_trials_of_a_process_that_lives_are_running(tmp_path: Path) -> None:
    found = study(tmp_path, start(), host="elsewhere")
    assert found.trials["status"].tolist() == ["running"]
    assert found.trials["reason"].isna().all()


def test_a_study_without_any_record_says_so_once_it_has_ended(tmp_path: Path) -> None:
    assert study(tmp_path).trials.empty
    with pytest.raises(StudyError) as caught:
        study(tmp_path, ended_at="2026")
    assert str(caught.value) == f"{tmp_path / 'trials.parquet'}: missing, and there is no journal to make it from"
    (tmp_path / "journal.jsonl").touch()
    assert study(tmp_path, ended_at="2026").trials.empty
    with pytest.raises(StudyError, match=r"^X/none: no such directory"):
        load("X/none")


def test_a_result_of_an_epoch_is_a_row() -> None:
    from ressearch.training.replicates import EpochResult

    names = list(EpochResult.__dataclass_fields__)
    assert to_record(EpochResult(*range(len(names)))) == {name: at for at, name in enumerate(names)}  # type: ignore[arg-type]
