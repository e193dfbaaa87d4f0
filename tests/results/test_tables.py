"""What the events of a journal add up to, told by hand and counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from results.made import end, epoch, point, start, told

from ressearch.errors import StudyError
from ressearch.results.schema import CURVES, TRIALS
from ressearch.results.store import read_tables
from ressearch.results.tables import Tables
from ressearch.results.tables_file import lost_rows, read_table


def shown(tables: Tables, trial: int, *keys: str) -> tuple[Any, ...]:
    return tuple(tables.trials[trial][key] for key in keys)


def test_a_trial_that_starts_has_spent_nothing() -> None:
    tables = told({"event": "session", "at": 0}, start(4, devices=2.0, examples=10))
    found = shown(tables, 4, "trial", "phase", "status", "epochs", "train_seconds", "wall_seconds", "began", "lr")
    assert found == (4, "search", "running", 0, 0.0, 0.0, 1000, 0.1)
    assert shown(tables, 4, "device_seconds", "macs_trained", "val_accuracy", "reason") == (0.0, 0.0, None, None)
    assert set(TRIALS.names) <= set(tables.trials[4])
    assert tables.curves == []
    assert shown(told(start(phase="final")), 0, "phase", "device_seconds", "macs_trained") == ("final", None, None)


def test_an_epoch_is_the_mean_of_its_replicates() -> None:
    first = epoch(results=[point(1, 0, 0.5, train_loss=1.0), point(1, 1, 0.7, train_loss=2.0, val_loss=2.5)])
    tables = told(start(macs=100, devices=2.0, examples=10), first)
    assert shown(tables, 0, "epochs", "val_accuracy", "best_val_accuracy", "seed_val_accuracies") == (
        1,
        pytest.approx(0.6),
        pytest.approx(0.6),
        [0.5, 0.7],
    )
    assert tables.trials[0]["val_accuracy_std"] == pytest.approx(0.02**0.5)  # of 0.5 and 0.7, with n - 1
    assert shown(tables, 0, "val_loss", "train_accuracy", "train_loss", "train_seconds") == (2.0, 0.25, 1.5, 6.0)
    assert shown(tables, 0, "device_seconds", "macs_trained") == (6.0 * 2.0, 3 * 100 * 10 * 1 * 2)
    assert [(one["trial"], one["seed"], one["epoch"], one["val_accuracy"]) for one in tables.curves] == [
        (0, 0, 1, 0.5),
        (0, 1, 1, 0.7),
    ]
    worse = epoch(number=2, results=[point(2, 0, 0.1), point(2, 1, 0.1)], device="cpu")
    tables.apply(worse)
    assert shown(tables, 0, "epochs", "val_accuracy", "best_val_accuracy", "val_accuracy_std", "device") == (
        2,
        0.1,
        pytest.approx(0.6),
        0.0,
        "cpu",
    )
    assert shown(tables, 0, "device_seconds", "macs_trained", "train_seconds") == (24.0, 3 * 100 * 10 * 2 * 2, 12.0)
    assert len(tables.curves) == 4


def test_one_replicate_has_no_deviation() -> None:
    tables = told(start(seeds=[7]), epoch(results=[point(1, 7, 0.0)]))
    assert shown(tables, 0, "val_accuracy", "val_accuracy_std", "best_val_accuracy") == (0.0, None, 0.0)
    assert shown(tables, 0, "device_seconds", "macs_trained") == (None, None)  # nobody said of which devices


def test_a_trial_ends_when_it_says_and_goes_on_when_it_is_reopened() -> None:
    tables = told(start(), epoch(), end(status="interrupted", reason="stopped by hand", at=4000, ended_at=4000))
    assert shown(tables, 0, "status", "reason", "ended_at", "wall_seconds") == (
        "interrupted",
        "stopped by hand",
        4000,
        3.0,
    )
    tables.apply({"event": "reopen", "at": 10_000, "trial": 0})
    assert shown(tables, 0, "status", "reason", "ended_at", "began", "wall_seconds") == (
        "running",
        None,
        None,
        10_000,
        3.0,
    )
    assert shown(tables, 0, "device_seconds", "macs_trained") == (None, None)
    tables.apply(end(at=12_500, ended_at=12_500, wall_seconds=99.0, test_accuracy=0.5))
    assert shown(tables, 0, "status", "wall_seconds", "test_accuracy") == ("completed", 5.5, 0.5)
    tables = told(start(), end(ended_at=400))  # a clock that was set back
    assert shown(tables, 0, "wall_seconds", "ended_at") == (0.0, 400)


def test_a_trial_reopened_on_other_devices_counts_on_with_theirs() -> None:
    tables = told(start(macs=100), epoch(), {"event": "reopen", "at": 3000, "trial": 0, "devices": 4.0, "examples": 10})
    # an older version did not say of which devices: what was trained before counts as on these
    assert shown(tables, 0, "devices", "examples", "device_seconds", "macs_trained") == (4.0, 10, 24.0, 6000.0)
    tables.apply({"event": "reopen", "at": 4000, "trial": 0, "devices": 2.0, "lr": 7.0})
    assert shown(tables, 0, "devices", "examples", "device_seconds", "lr") == (2.0, 10, 24.0, 0.1)
    tables.apply(epoch(number=2))
    assert shown(tables, 0, "device_seconds", "macs_trained") == (24.0 + 2 * 6.0, 12_000.0)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([epoch(3)], "trial 3 has not started"),
        ([end(3)], "trial 3 has not started"),
        ([start(), {"event": "reopen", "at": 1, "trial": 2}], "trial 2 has not started"),
        ([start(), epoch(number=2)], "trial 0 tells epoch 2 after 0"),
        ([start(), epoch(), epoch()], "trial 0 tells epoch 1 after 1"),
        ([start(), epoch(), epoch(number=3)], "trial 0 tells epoch 3 after 1"),
    ],
)
def test_events_out_of_order_are_refused(events: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        told(*events)


def test_an_event_is_left_as_it_was() -> None:
    for event in (start(), epoch(), end()):
        before = dict(event)
        told(start(), *([event] if event["event"] != "start" else []))
        assert event == before


def test_time_counts_between_events_but_not_between_processes() -> None:
    tables = told({"event": "session", "at": 1000}, start(at=3000), epoch(at=None), epoch(number=2, at=8500))
    assert (tables.active_seconds, tables.last_event) == (7.5, 8500)
    tables.apply({"event": "session", "at": 100_000})
    assert (tables.active_seconds, tables.last_event) == (7.5, 100_000)
    tables.apply(end(at=101_000))
    assert (tables.active_seconds, tables.last_event) == (8.5, 101_000)
    assert (told(start(at=None)).active_seconds, told(start(at=None)).last_event) == (0.0, None)
    assert told(start(at=4000)).active_seconds == 0.0


def test_phases_are_planned_finished_and_unsettled_by_a_change() -> None:
    tables = told(
        {"event": "plan", "at": 0, "phase": "final", "trials": [4, 5]},
        {"event": "plan", "at": 0, "phase": "baseline", "trials": [6]},
        {"event": "finish", "at": 0, "phase": "search", "reason": "the budget is spent"},
    )
    assert tables.plans == {"final": [4, 5], "baseline": [6]}
    assert tables.settled == {"final", "baseline"}
    assert tables.finished == {"search": "the budget is spent"}
    tables.apply({"event": "change", "at": 0, "key": "search.trials", "old": 4, "new": 6})
    assert (tables.plans, tables.settled, tables.finished) == ({"final": [4, 5], "baseline": [6]}, set(), {})
    assert tables.trials == {}


def test_seeds_that_agree_have_no_spread_and_infinite_ones_are_refused() -> None:
    agreed = told(start(), epoch(results=[point(1, seed, 0.1) for seed in range(3)]))
    assert shown(agreed, 0, "val_accuracy_std") == (0.0,)
    for value in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="no numbers that have a spread"):
            told(start(), epoch(results=[point(1, 0, value), point(1, 1, 0.5)]))


def test_what_is_restored_replaces_what_was_known() -> None:
    tables = told(start(), start(1), epoch(), epoch(1))
    row = {"trial": 0, "status": "completed", "epochs": 2, "started_at": 700, "wall_seconds": None, "macs": 5}
    curves = [{"trial": 0, **point(1)}, {"trial": 0, **point(2)}]
    tables.apply({"event": "restore", "at": 9000, "trial": 0, "row": row, "curves": curves})
    assert shown(tables, 0, "status", "epochs", "began", "wall_seconds", "train_seconds", "macs", "lr") == (
        "completed",
        2,
        700,
        0,
        0,
        5,
        None,
    )
    assert [(one["trial"], one["epoch"]) for one in tables.curves] == [(1, 1), (1, 1), (0, 1), (0, 2)]
    for began, at in ((9000, 9000), (0, None)):
        tables.apply({"event": "restore", "at": at, "trial": 7, "row": {"trial": 9, "epochs": 1}, "curves": []})
        assert shown(tables, 7, "trial", "began", "epochs") == (7, began, 1)


@pytest.mark.parametrize(
    ("run", "spent"),
    [
        ({"gpus_per_trial": 0.5, "cpus_per_trial": 8, "examples": {"train": 10}}, (3.0, 6000.0)),
        ({"gpus_per_trial": 0, "cpus_per_trial": 8, "examples": {"train": 10, "test": 99}}, (48.0, 6000.0)),
        ({"cpus_per_trial": 8}, (None, None)),
        ({"examples": {"train": 10}}, (None, None)),
        ({"cpus_per_trial": 8, "examples": {"val": 10}}, (None, None)),
    ],
    ids=str,
)
def test_what_an_older_journal_spent_is_counted_from_its_run(run: dict[str, Any], spent: tuple[Any, Any]) -> None:
    tables = told(start(macs=100), epoch(), start(1), end(1, macs_trained=7.0, device_seconds=8.0))
    tables.fill_spending(run)
    assert shown(tables, 0, "device_seconds", "macs_trained") == spent
    assert shown(tables, 1, "device_seconds", "macs_trained") == (8.0, 7.0)


def test_tables_are_ordered_by_trial_and_read_back_as_they_were_written(tmp_path: Path) -> None:
    tables = told(start(2, width=8), start(1), epoch(2), epoch(1), epoch(2, 2), end(1))
    trials, curves = tables.frames()
    assert trials["trial"].tolist() == [1, 2]
    assert curves[["trial", "epoch", "seed"]].values.tolist() == [
        [1, 1, 0],
        [1, 1, 1],
        [2, 1, 0],
        [2, 1, 1],
        [2, 2, 0],
        [2, 2, 1],
    ]
    assert trials["status"].tolist() == ["completed", "running"]
    assert (list(trials), list(curves)) == (TRIALS.names, CURVES.names)
    tables.write(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curves.parquet", "trials.parquet"]
    for name, schema, frame in (("trials.parquet", TRIALS, trials), ("curves.parquet", CURVES, curves)):
        assert pq.read_schema(tmp_path / name).equals(schema)
        assert pq.ParquetFile(tmp_path / name).metadata.row_group(0).column(0).compression == "ZSTD"
        assert read_table(tmp_path / name).to_pandas().equals(frame)


def test_tables_without_rows_have_their_columns_and_types(tmp_path: Path) -> None:
    trials, curves = Tables().frames()
    assert (list(trials), list(curves), len(trials), len(curves)) == (TRIALS.names, CURVES.names, 0, 0)
    Tables().write(tmp_path)
    assert read_table(tmp_path / "curves.parquet").schema.equals(CURVES)


def test_a_table_that_is_missing_or_damaged_says_so(tmp_path: Path) -> None:
    trials, curves = tmp_path / "trials.parquet", tmp_path / "curves.parquet"
    with pytest.raises(StudyError) as caught:
        read_table(trials)
    assert str(caught.value) == f"{trials}: missing, and there is no journal to make it from"
    trials.write_bytes(b"nothing")
    with pytest.raises(StudyError) as caught:
        read_table(trials)
    assert str(caught.value).startswith(f"{trials}: damaged: ")
    assert "\n" not in str(caught.value)
    told(start(), epoch(), start(1)).write(tmp_path)
    for file, key, rows in (
        (trials, "name", 2),
        (trials, "recipe", 2),
        (curves, "val_accuracy", 2),
        (curves, "seed", 2),
    ):
        whole = pq.read_table(file)
        pq.write_table(whole.drop_columns([key]), file)
        with pytest.raises(StudyError) as caught:
            read_table(file)
        assert str(caught.value) == f"{file}: damaged: {rows} rows have no {key}"
        at = whole.schema.get_field_index(key)
        values = [None, *whole[key].to_pylist()[1:]]
        pq.write_table(whole.set_column(at, key, pa.array(values, whole.schema.field(key).type)), file)
        with pytest.raises(StudyError) as caught:
            read_table(file)
        assert str(caught.value) == f"{file}: damaged: 1 rows have no {key}"
        pq.write_table(whole, file)


def test_a_table_of_an_older_version_gets_the_newer_columns(tmp_path: Path) -> None:
    told(start(), start(1, phase="final")).write(tmp_path)
    file = tmp_path / "trials.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["phase", "engine", "answers", "grouped"]), file)
    table = read_table(file)
    assert table.schema.equals(TRIALS)
    assert table["phase"].to_pylist() == ["search", "search"]
    for key in ("engine", "answers", "grouped"):
        assert table[key].to_pylist() == [None, None]
    narrow = pq.read_table(file)
    at = narrow.schema.get_field_index("params")
    pq.write_table(narrow.set_column(at, "params", narrow["params"].cast(pa.int32())), file)
    assert read_table(file).schema.equals(TRIALS)


def test_the_tables_give_back_what_a_journal_lacks(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    assert list(lost_rows(tmp_path, journal)({})) == []
    ended = end(2, started_at=1000)
    told(start(), epoch(), epoch(number=2), start(1), epoch(1), start(2), epoch(2), ended).write(tmp_path)
    lost = lost_rows(tmp_path, journal)

    def missing(known: dict[int, Any]) -> list[tuple[int, int]]:
        return [(row["trial"], len(points)) for row, points in lost(known)]

    assert missing({}) == [(0, 4), (1, 2), (2, 2)]
    open_, over = {"epochs": 1, "status": "interrupted"}, {"epochs": 1, "status": "failed"}
    assert missing({0: open_, 1: open_, 2: open_}) == [(0, 4), (2, 2)]  # trial 2 has ended in the table
    assert missing({0: {**open_, "epochs": 2}, 1: over, 2: over}) == []
    assert missing({0: {**open_, "epochs": 3}, 1: open_, 2: over}) == []
    ((row, points),) = lost({0: {**open_, "epochs": 2}, 1: over})
    assert (row["started_at"], row["ended_at"], row["status"]) == (1000, 5000, "completed")
    assert [one["seed"] for one in points] == [0, 1]
    ((row, _),) = lost({0: {**open_, "epochs": 2}, 2: over})
    assert row["ended_at"] is None


def test_tables_without_a_journal_are_read_as_they_stand(tmp_path: Path) -> None:
    assert read_tables(tmp_path)[0].trials == {}
    ended = end(0, started_at=1000)
    whole = told(start(), epoch(), epoch(number=2), ended, start(1), epoch(1), start(2), epoch(2))
    whole.write(tmp_path)
    trials, curves = (pq.read_table(tmp_path / name) for name in ("trials.parquet", "curves.parquet"))
    pq.write_table(curves.take([6, 4, 0, 1, 2, 3, 5, 7]), tmp_path / "curves.parquet")  # trials 2, 1, 0, 0, 0, 0, 1, 2
    pq.write_table(trials.slice(0, 2), tmp_path / "trials.parquet")
    tables, notes = read_tables(tmp_path)
    assert notes == ()
    assert list(tables.trials) == [0, 1]
    assert shown(tables, 0, "status", "began", "started_at", "ended_at", "epochs") == ("completed", 1000, 1000, 5000, 2)
    assert shown(tables, 1, "began", "train_seconds") == (1000, 6.0)
    read = tables.frames()[1]
    assert read.equals(whole.frames()[1].iloc[:6])  # nothing of a trial that the other table lacks
    row = {"status": "completed", "epochs": 1, "started_at": None}
    tables.apply({"event": "restore", "trial": 0, "row": row, "curves": [{"trial": 0, **point(7)}]})
    assert tables.frames()[1]["epoch"].tolist() == [7, 1, 1]
    assert tables.frames()[1]["trial"].tolist() == [0, 1, 1]
    (tmp_path / "curves.parquet").unlink()
    with pytest.raises(StudyError, match=r"curves\.parquet: missing"):
        read_tables(tmp_path)


@pytest.mark.parametrize("damaged", ["trials.parquet", "curves.parquet"])
def test_damaged_tables_are_no_loss_beside_a_journal(damaged: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    told(start(), epoch()).write(tmp_path)
    (tmp_path / damaged).write_bytes(b"nothing")
    with pytest.raises(StudyError, match=damaged):
        lost_rows(tmp_path, journal)
    journal.touch()
    assert list(lost_rows(tmp_path, journal)({})) == []
    (tmp_path / damaged).unlink()
    assert list(lost_rows(tmp_path, journal)({})) == []
    journal.unlink()
    with pytest.raises(StudyError, match=f"{damaged}: missing"):
        lost_rows(tmp_path, journal)
