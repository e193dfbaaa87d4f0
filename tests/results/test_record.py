"""The record: what a cut, damaged or half synced journal leaves, and how far a study is by it."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import ressearch
from ressearch import Architecture, cost, durable, load
from ressearch.cli import cli, main
from ressearch.errors import RessearchError, StudyError
from ressearch.results import Store
from ressearch.results.progress import progress
from ressearch.results.run_file import read_run, write_run
from ressearch.results.store import read_tables
from ressearch.training import Recipe, checkpoint

TABLES = ("trials.parquet", "curves.parquet")


def remove_tables(directory: Path) -> None:
    for name in TABLES:
        (directory / name).unlink()


def whole_events(data: bytes) -> list[dict[str, Any]]:
    """The events that a reader must find in the first bytes of a journal, by Python's own JSON alone."""
    found = []
    for line in data.split(b"\n"):
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def test_every_whole_event_survives_a_cut_at_every_byte(small_run: Path) -> None:
    remove_tables(small_run)
    journal = small_run / "journal.jsonl"
    data = journal.read_bytes()
    chance = random.Random(0)
    ends = [at for at, byte in enumerate(data) if byte == ord("\n")]
    near = {at + offset for at in ends for offset in (-1, 0, 1, 2)}
    for cut in sorted({*near, *range(12), *chance.sample(range(len(data)), 150)}):
        journal.write_bytes(data[:cut])
        expected = whole_events(data[:cut])
        tables, notes = read_tables(small_run)
        assert notes == ()
        assert len(tables.trials) == sum(event["event"] == "start" for event in expected)
        ended = {event["trial"] for event in expected if event["event"] == "end"}
        assert {number for number, row in tables.trials.items() if row["status"] == "completed"} == ended
        assert len(tables.curves) == sum(len(event["results"]) for event in expected if event["event"] == "epoch")
        assert progress(read_run(small_run), tables).is_complete == (len(ended) == 4)
    for cut in sorted(near):  # and the store, which goes on with the file, loses none of them
        journal.write_bytes(data[:cut])
        expected = whole_events(data[:cut])
        Store(small_run).close()
        assert whole_events(journal.read_bytes())[: len(expected)] == expected
        assert journal.read_bytes().endswith(b"\n")
        remove_tables(small_run)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.9, None])
def test_what_a_cut_journal_lacks_is_taken_from_the_tables(small_run: Path, share: float | None) -> None:
    before = load(small_run)
    journal = small_run / "journal.jsonl"
    data = journal.read_bytes()
    if share is None:
        journal.unlink()
    else:
        journal.write_bytes(data[: int(share * len(data))])
    after = load(small_run)
    pd_equal(before, after)
    assert after.progress.is_complete
    assert bool(after.notes) == (share is not None)
    assert ressearch.pick(small_run).trial == ressearch.pick(small_run).trial
    said = CliRunner().invoke(cli, ["status", str(small_run)]).output
    assert "complete, 4 of 4 trials ended" in said
    assert ("journal.jsonl lacks what" in said) == (share is not None)
    Store(small_run).close()  # whoever goes on with it writes the record whole again
    remove_tables(small_run)
    pd_equal(before, load(small_run))


def pd_equal(one: ressearch.results.Results, other: ressearch.results.Results) -> None:
    import pandas as pd

    pd.testing.assert_frame_equal(one.trials, other.trials)
    pd.testing.assert_frame_equal(one.curves, other.curves)


def test_tables_older_than_the_journal_change_nothing(small_run: Path) -> None:
    before = load(small_run)
    journal = small_run / "journal.jsonl"
    data = journal.read_text()
    journal.write_text(data[: data.index('{"event": "end"')])
    remove_tables(small_run)
    Store(small_run).close()  # tables without a trial that ended
    journal.write_text(data)
    after = load(small_run)
    assert after.notes == ()
    pd_equal(before, after)


def test_damaged_tables_matter_only_without_the_journal(small_run: Path) -> None:
    before = load(small_run)
    (small_run / "trials.parquet").write_bytes(b"PAR1 cut")
    pd_equal(before, load(small_run))
    (small_run / "journal.jsonl").unlink()
    with pytest.raises(StudyError, match=r"trials.parquet: damaged"):
        load(small_run)
    remove_tables(small_run)
    with pytest.raises(StudyError, match=r"trials.parquet: missing, and there is no journal"):
        load(small_run)


WRONG: list[Any] = [None, True, -1, 1.5, "x", [], {}, [None], ["x"], {"a": 1}, 10**30]


def mutations(events: list[dict[str, Any]]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Each key of one event of each kind, with values of every other type, and the event without it."""
    seen: set[str] = set()
    for at, event in enumerate(events):
        if event["event"] in seen:
            continue
        seen.add(event["event"])
        for key in event:
            for value in WRONG:
                yield f"{event['event']}.{key}={value!r}", at, {**event, key: value}
            yield f"{event['event']} without {key}", at, {k: v for k, v in event.items() if k != key}
        for key in event["results"][0] if event["event"] == "epoch" else ():
            for value in WRONG:
                results = [{**event["results"][0], key: value}, *event["results"][1:]]
                yield f"results.{key}={value!r}", at, {**event, "results": results}


def refusal(read: Callable[[Path], Any], directory: Path) -> str:
    """The message with which a reader refuses a directory; empty if it reads it."""
    try:
        read(directory)
    except RessearchError as error:
        return str(error)
    return ""


def test_an_event_of_the_wrong_type_is_one_line_in_every_command(small_run: Path) -> None:
    remove_tables(small_run)
    journal = small_run / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    refused = 0
    for name, at, event in mutations(events):
        changed = [*events[:at], event, *events[at + 1 :]]
        journal.write_text("".join(json.dumps(one) + "\n" for one in changed))
        for read in (load, ressearch.pick, lambda path: Store(path).close()):
            said = refusal(read, small_run)
            assert "\n" not in said, name
            refused += bool(said)
            for table in TABLES:
                (small_run / table).unlink(missing_ok=True)
    assert refused > 500


@pytest.mark.parametrize("command", ["status", "report", "pick", "export", "resume"])
@pytest.mark.parametrize("line", ["7", "[]", '{"event": 3}', '{"event": "epochs"}', '{"event": "end"}', "nul"])
def test_a_damaged_line_is_named_by_every_command(
    small_run: Path, command: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = small_run / "journal.jsonl"
    journal.write_text(("\0" * 40 if line == "nul" else line) + "\n" + journal.read_text())
    further = ["--out", str(small_run.parent / "x.pt")] if command == "export" else []
    with pytest.raises(SystemExit) as ended:
        main([command, str(small_run), *further])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "journal.jsonl:1: damaged line" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "report", "pick", "export", "resume"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("planned_trials", "four"),
        ("name", 4),
        ("overrides", []),
        ("study", "text"),
        ("input_shape", [1, "8", 8]),
        ("num_classes", None),
        ("versions", {"torch": 2}),
        ("pid", "x"),
    ],
)
def test_a_run_file_of_the_wrong_type_is_named_by_every_command(
    small_run: Path, command: str, key: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(small_run, {**read_run(small_run), key: value})
    further = ["--out", str(small_run.parent / "x.pt")] if command == "export" else []
    with pytest.raises(SystemExit) as ended:
        main([command, str(small_run), *further])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"run.json: damaged: {key}" in said
    assert len(said.splitlines()) == 1


def run_of(**search: Any) -> dict[str, Any]:
    return {"name": "s", "planned_trials": 3, "study": {"search": search}, "record": 2}


def store_with(directory: Path, *phases: tuple[str, str]) -> Store:
    """A store of trials of some phases, each with its status."""
    directory.mkdir()
    store = Store(directory)
    architecture = Architecture(depths=(1, 1), widths=(4, 8))
    for number, (phase, status) in enumerate(phases):
        price = cost(architecture, (1, 8, 8), 3)
        store.start(number, architecture, price, Recipe().model_dump_json(), (0,), 0.1, phase=phase)
        if status != "running":
            store.end(number, status, None)
    return store


SEARCHED = [("search", "completed"), ("search", "diverged"), ("search", "failed")]


def test_a_study_is_complete_once_each_planned_trial_has_ended(tmp_path: Path) -> None:
    run = run_of()
    store = store_with(tmp_path / "a", *SEARCHED)
    assert progress(run, store.tables).is_complete
    store = store_with(tmp_path / "b", *SEARCHED[:2])
    found = progress(run, store.tables)
    assert (found.is_complete, found.ended, found.planned, found.missing) == (False, 2, 3, ("search",))
    store.finish("search", "the space holds no further network")
    found = progress(run, store.tables)
    assert (found.is_complete, found.ended, found.planned) == (True, 2, 2)
    assert found.why == {"search": "the space holds no further network"}
    store = store_with(tmp_path / "c", *SEARCHED[:2], ("search", "interrupted"))
    store.finish("search", "the budget of 3 epochs is spent")
    assert progress(run, store.tables).missing == ("search",)


def test_each_phase_that_is_asked_for_has_to_be_planned_and_to_end(tmp_path: Path) -> None:
    run = run_of(baseline="random", finalists={"count": 2, "seeds": 2})
    store = store_with(tmp_path / "a", *SEARCHED)
    assert progress(run, store.tables).missing == ("baseline", "final")
    assert store.plan("baseline", 2) == [3, 4]
    assert progress(run, store.tables).missing == ("baseline", "final")
    store = store_with(tmp_path / "b", *SEARCHED, ("baseline", "completed"), ("baseline", "running"))
    assert store.plan("baseline", 2) == [3, 4]
    assert progress(run, store.tables).missing == ("baseline", "final")
    store.end(4, "stopped", None)
    assert progress(run, store.tables).missing == ("final",)
    assert store.plan("final", 0) == []  # no trial was trained to the end: there is none to train again
    assert progress(run, store.tables).is_complete
    store.change("search.finalists.count", 2, 3)
    assert progress(run, store.tables).missing == ("search", "baseline", "final")[1:]


def test_numbers_of_planned_trials_are_never_those_of_others(tmp_path: Path) -> None:
    store = store_with(tmp_path / "a", *SEARCHED)
    assert store.plan("baseline", 2) == [3, 4]
    assert store.plan("final", 2) == [5, 6]
    assert store.plan("baseline", 3) == [3, 4, 7]
    assert store.plan("final", 2) == [5, 6]
    store.close()
    again = Store(tmp_path / "a")
    assert (again.plan("baseline", 3), again.plan("final", 3)) == ([3, 4, 7], [5, 6, 8])


def test_a_record_of_an_older_version_is_believed_where_it_does_not_contradict_itself(tmp_path: Path) -> None:
    old = {key: value for key, value in run_of(finalists={"count": 1}).items() if key != "record"}
    final = ("final", "completed")
    store = store_with(tmp_path / "a", *SEARCHED, final)
    assert progress({**old, "is_complete": True}, store.tables).is_complete
    assert not progress({**old, "is_complete": False}, store.tables).is_complete
    store = store_with(tmp_path / "b", *SEARCHED[:2])  # Ctrl-C before the first trial was recorded as complete
    assert not progress({**old, "is_complete": True}, store.tables).is_complete
    budgeted = {**old, "study": {"search": {"budget": {"epochs": 9}}}, "is_complete": True}
    assert progress(budgeted, store.tables).is_complete
    store = store_with(tmp_path / "c")
    assert not progress({**budgeted, "is_complete": True}, store.tables).is_complete


class Disk:
    """Remembers what was forced to the disk, call by call, and makes what a power cut after each call leaves."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.states = root, []
        self._open: list[int] = []  # an inode that is held is not given to another file
        self._content: dict[int, bytes] = {}
        self._entries: dict[str, dict[str, int]] = {}
        self._real_sync, self._real_replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self._sync)
        monkeypatch.setattr(os, "replace", self._replace)

    def _sync(self, descriptor: int) -> None:
        self._real_sync(descriptor)
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if name.is_dir():
            entries = {one.name: one.stat().st_ino for one in name.iterdir() if one.is_file()}
            self._entries[str(name)] = entries
        else:
            self._open.append(os.dup(descriptor))
            self._content[os.fstat(descriptor).st_ino] = name.read_bytes()
        self.remember()

    def _replace(self, source: Any, target: Any) -> None:
        self._open.append(os.open(source, os.O_RDONLY))
        self._real_replace(source, target)
        self.remember()

    def remember(self) -> None:
        """Note what a power cut now would leave: at the least, and where the system had been quick with the names."""
        now = {str(one): {f.name: f.stat().st_ino for f in one.iterdir() if f.is_file()} for one in self._folders()}
        for entries in (self._entries, {**self._entries, **now}):
            self.states.append(
                {
                    Path(folder, name): self._content.get(inode, b"\0" * 100)
                    for folder, names in entries.items()
                    for name, inode in names.items()
                }
            )

    def _folders(self) -> list[Path]:
        return [self.root, *(one for one in self.root.rglob("*") if one.is_dir())]

    def leave(self, state: dict[Path, bytes], target: Path) -> None:
        """Write what is left of the files into a directory."""
        for path, content in state.items():
            file = target / path.relative_to(self.root)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def test_a_power_cut_at_any_moment_loses_no_trial_that_had_ended(
    tmp_path: Path, small_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "study"
    root.mkdir()
    sync_root = os.open(tmp_path, os.O_RDONLY)
    os.fsync(sync_root)
    events = [json.loads(line) for line in (small_run / "journal.jsonl").read_text().splitlines()]
    disk = Disk(root, monkeypatch)
    promised: list[tuple[int, set[int], int]] = []  # (states so far, trials whose end is recorded, epochs synced)
    run = read_run(small_run)
    write_run(root, {**run, "ended_at": None, "is_complete": False})
    store = Store(root)
    ended: set[int] = set()
    for event in events:
        kind, values = event.pop("event"), event
        if kind in ("session",):
            continue
        store._record(kind, **{key: value for key, value in values.items() if key != "at"})
        if kind == "epoch":
            path = str(root / "checkpoints" / f"trial-{values['trial']}.pt")
            checkpoint.save(path, {"history": [values["results"]] * values["results"][0]["epoch"], "x": torch.ones(9)})
        if kind == "end":
            ended = ended | {values["trial"]}
            store.write()
        promised.append((len(disk.states), ended, 0))
    store.close()
    write_run(root, {**run, "is_complete": progress(run, store.tables).is_complete})
    promised.append((len(disk.states), ended, 0))
    monkeypatch.undo()
    whole = load(small_run).trials.set_index("trial")
    for at, state in enumerate(disk.states):
        target = tmp_path / f"cut-{at}"
        target.mkdir()
        disk.leave(state, target)
        if not (target / "run.json").is_file():
            assert not any(count <= at for count, *_ in promised)
            continue
        before = [trials for count, trials, _ in promised if count <= at]
        trials = load(target).trials.set_index("trial")
        for number in before[-1] if before else ():
            assert trials.loc[number, "status"] == "completed"
            assert trials.loc[number, "val_accuracy"] == whole.loc[number, "val_accuracy"]
        found = progress(read_run(target), read_tables(target)[0])
        assert found.is_complete == (set(trials.index[trials["status"] == "completed"]) == {0, 1, 2, 3})
        assert found.is_complete or not read_run(target)["is_complete"]
        Store(target).close()  # and it can be gone on with
        for file in (target / "checkpoints").glob("*.pt") if (target / "checkpoints").is_dir() else ():
            kept = checkpoint.load(str(file), torch.device("cpu"))
            assert kept is not None
            assert torch.equal(kept["x"], torch.ones(9))
    assert len(disk.states) > 60


def test_a_checkpoint_that_was_not_synced_never_costs_the_last_one_that_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    path = str(tmp_path / "trial-0.pt")
    synced: list[int] = []
    real = durable.sync

    def slow(descriptor: int) -> None:
        clock[0] += 0.1
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(durable, "sync", slow)
    epochs: list[int] = []
    for epoch in range(1, 41):
        clock[0] += 1.0
        before = len(synced)
        checkpoint.save(path, {"history": [0] * epoch})
        epochs += [epoch] if len(synced) > before else []
        found = checkpoint.load(path, torch.device("cpu"))
        assert found is not None
        assert len(found["history"]) == epoch
        (tmp_path / "trial-0.pt.unsynced").write_bytes(b"\0" * 10)  # as a power cut may leave it
        found = checkpoint.load(path, torch.device("cpu"))
        assert found is not None
        assert len(found["history"]) == epochs[-1]
    assert len(epochs) >= 5
    assert 0.1 * len(synced) <= 40 * 0.02 + 0.2  # a fiftieth of the time, and the first one
    checkpoint.remove(path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_forced_to_the_disk_can_be_left_to_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    durable.replace_text(tmp_path / "a", "x")
    assert len(calls) == 2  # the file and its directory
    monkeypatch.setenv("RESSEARCH_SYNC", "0")
    durable.replace_text(tmp_path / "a", "y")
    assert len(calls) == 2
    assert (tmp_path / "a").read_text() == "y"
