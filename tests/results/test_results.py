from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import ressearch
from ressearch import Study, build
from ressearch.errors import BudgetError, StudyError
from ressearch.results import Store
from ressearch.results.aggregate import replicates, spent
from ressearch.results.schema import CURVES, TRIALS, architecture_columns, architecture_of
from ressearch.results.status import Status


def test_tables_hold_every_trial_seed_and_epoch(small_run: Path) -> None:
    trials, curves = ressearch.load(small_run)
    assert list(trials.columns) == TRIALS.names
    assert list(curves.columns) == CURVES.names
    assert trials["trial"].tolist() == [0, 1, 2, 3]
    assert trials["status"].tolist() == ["completed"] * 4
    assert list(zip(trials["skip"], trials["depth"], strict=True)) == [
        ("none", 8),
        ("none", 14),
        ("identity", 8),
        ("identity", 14),
    ]
    assert len(curves) == 4 * 2 * 3
    assert (trials[["train_seconds", "device_seconds", "macs_trained", "wall_seconds"]] > 0).all().all()
    last = curves[curves["epoch"] == 3].groupby("trial")["val_accuracy"].mean()
    assert trials["val_accuracy"].tolist() == pytest.approx(last.tolist())
    assert len(replicates(ressearch.load(small_run))) == 8
    assert spent(ressearch.load(small_run)).loc["total", "replicate_epochs"] == 24


def _record_trials_of_every_fate(directory: Path) -> None:
    """Write a journal of seven trials of two seeds: 10 examples, half a GPU each, 1 s an epoch and seed."""
    directory.mkdir()
    run = {"ended_at": "2026-01-01", "name": "fates", "planned_trials": 7, "input_shape": [3, 8, 8], "num_classes": 2}
    (directory / "run.json").write_text(json.dumps(run))
    store, network = Store(directory), ressearch.Architecture()
    result = dict.fromkeys(CURVES.names, 0.5)
    fates = ["completed", "stopped", "diverged", "failed", "interrupted", None, "reopened"]
    for trial, fate in enumerate(fates):
        price = ressearch.cost(network, (3, 8, 8), 2)
        store.start(trial, network, price, "{}", [0, 1], 0.1, devices=0.5, examples=10)
        for epoch in (1, 2):
            store.epoch(trial, [{**result, "seed": seed, "epoch": epoch, "seconds": 1.0} for seed in (0, 1)])
        if fate is not None:
            store.end(trial, "interrupted" if fate == "reopened" else fate, None)
        if fate == "reopened":  # it goes on elsewhere, with two devices
            store.reopen(trial, devices=2.0, examples=10)
            store.epoch(trial, [{**result, "seed": seed, "epoch": 3, "seconds": 1.0} for seed in (0, 1)])
    store.close()


def test_every_trial_has_what_it_spent_whatever_ended_it(tmp_path: Path) -> None:
    _record_trials_of_every_fate(tmp_path / "run")
    results = ressearch.load(tmp_path / "run")
    macs = ressearch.cost(ressearch.Architecture(), (3, 8, 8), 2).macs
    assert results.trials["macs_trained"].tolist() == [3 * macs * 10 * 2 * 2] * 6 + [3 * macs * 10 * 3 * 2]
    assert results.trials["device_seconds"].tolist() == [2 * 2 * 0.5] * 6 + [2 * 2 * 0.5 + 2 * 2.0]
    table = spent(results)
    assert set(table.index) == {*Status, "total"} - {Status.RUNNING}
    assert table.loc["total", "device_seconds"] == 6 * 2.0 + 6.0
    assert (table[["macs_trained", "device_seconds"]] > 0).all().all()


def test_a_journal_of_an_older_version_has_what_its_trials_spent(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    _record_trials_of_every_fate(directory)
    known = ressearch.load(directory).trials.iloc[:6]
    events = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    lines = [json.dumps({k: v for k, v in event.items() if k not in ("devices", "examples")}) for event in events]
    (directory / "journal.jsonl").write_text("\n".join(lines) + "\n")
    run = json.loads((directory / "run.json").read_text())
    run.update(gpus_per_trial=0.5, cpus_per_trial=1, examples={"train": 10})
    (directory / "run.json").write_text(json.dumps(run))
    columns = ["macs_trained", "device_seconds"]
    pd.testing.assert_frame_equal(ressearch.load(directory).trials.iloc[:6][columns], known[columns])


def test_costs_and_architectures_in_the_table_are_those_of_the_networks(small_run: Path) -> None:
    for _, row in ressearch.load(small_run).trials.iterrows():
        architecture = architecture_of(row)
        assert architecture.name == row["name"]
        network = build(architecture, in_channels=1, num_classes=10)
        assert sum(parameter.numel() for parameter in network.parameters()) == row["params"]


@pytest.mark.parametrize("name", ressearch.presets())
def test_every_preset_survives_the_table(name: str) -> None:
    architecture = ressearch.Architecture.preset(name)
    assert architecture_of(architecture_columns(architecture)) == architecture


def test_parquet_tables_equal_the_journal(small_run: Path) -> None:
    from_journal = ressearch.load(small_run)
    (small_run / "journal.jsonl").unlink()
    from_parquet = ressearch.load(small_run)
    pd.testing.assert_frame_equal(from_journal.trials, from_parquet.trials)
    pd.testing.assert_frame_equal(from_journal.curves, from_parquet.curves)
    (small_run / "trials.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(StudyError, match=r"trials.parquet: damaged"):
        ressearch.load(small_run)


def test_a_journal_cut_short_loses_only_the_cut_line(small_run: Path) -> None:
    journal = small_run / "journal.jsonl"
    run = json.loads((small_run / "run.json").read_text())
    (small_run / "run.json").write_text(json.dumps({**run, "ended_at": None, "pid": 2**22 + 1}))
    text = journal.read_text()
    journal.write_text(text[: text.rindex('"event": "end"') + 9])
    for table in ("trials", "curves"):
        (small_run / f"{table}.parquet").unlink()
    trials = ressearch.load(small_run).trials
    assert sorted(trials["status"]) == ["completed", "completed", "completed", "interrupted"]
    journal.write_text("garbage\n" + text)
    with pytest.raises(StudyError, match=r"journal.jsonl:1: damaged line"):
        ressearch.load(small_run)


def test_pick_takes_the_best_within_the_budget(small_run: Path) -> None:
    trials = ressearch.load(small_run).trials
    best = ressearch.pick(small_run)
    assert best.val_accuracy == trials["val_accuracy"].max()
    bound = int(trials["macs"].min())
    cheap = ressearch.pick(small_run, max_macs=bound)
    assert cheap.cost.macs == bound
    assert cheap.candidates == (trials["macs"] <= bound).sum()
    with pytest.raises(BudgetError, match=f"none of the 4 .* has params {trials['params'].min()}$"):
        ressearch.pick(small_run, max_params=1)


def test_a_repeated_grid_gives_the_same_numbers(
    ray_started: None, small_run: Path, small_study: Study, tmp_path: Path
) -> None:
    again = ressearch.load(ressearch.run(small_study, tmp_path / "again"))
    columns = ["trial", "seed", "epoch", "train_loss", "val_loss", "val_accuracy"]
    order = ["trial", "epoch", "seed"]
    first = ressearch.load(small_run).curves.sort_values(order, ignore_index=True)[columns]
    pd.testing.assert_frame_equal(first, again.curves.sort_values(order, ignore_index=True)[columns])


def test_search_stops_refuses_and_records_its_trials(ray_started: None, tmp_path: Path) -> None:
    study = Study.from_dict(
        {
            "space": {"search": {"block": ["basic", "bottleneck"], "blocks_per_stage": [1, 2], "width": [4, 8, 12]}},
            "recipe": {"epochs": 4},
            "search": {
                "trials": 8,
                "sampler": "tpe",
                "scheduler": {"name": "asha", "grace_period": 1, "reduction_factor": 2},
                "objective": ["val_accuracy"],
                "constraints": {"max_macs": "600k"},
            },
        }
    )
    trials = ressearch.load(ressearch.run(study, tmp_path / "search")).trials
    assert len(trials) == study.planned_trials == trials["name"].nunique()
    assert (trials["macs"] <= 600_000).all()
    assert set(trials["status"]) == {"completed", "stopped"}
    stopped = trials[trials["status"] == "stopped"]
    assert (stopped["epochs"] < 4).all()
    assert stopped["reason"].str.startswith("asha after epoch").all()


def test_divergence_is_a_result(ray_started: None, tmp_path: Path) -> None:
    study = Study.from_dict(
        {"space": {"grid": {"depth": [8, 14], "width": 4}}, "recipe": {"epochs": 2, "lr": 1e6}, "name": "wild"}
    )
    directory = ressearch.run(study, tmp_path / "wild")
    trials = ressearch.load(directory).trials
    assert trials["status"].tolist() == ["diverged"] * 2
    assert trials["reason"].str.contains("seed 0: loss is").all()
    page = ressearch.report(directory).read_text()
    assert "Trials that did not finish" in page
    with pytest.raises(StudyError, match="nothing to pick from"):
        ressearch.pick(directory)


def test_several_objectives_and_nsga2(ray_started: None, tmp_path: Path) -> None:
    study = Study.from_dict(
        {
            "space": {"search": {"blocks_per_stage": [1, 2], "width": [4, 8]}},
            "recipe": {"epochs": 1},
            "search": {"trials": 3, "sampler": "nsga2", "objective": ["val_accuracy", "macs"]},
        }
    )
    assert len(ressearch.load(ressearch.run(study, tmp_path / "front")).trials) == 3


def test_run_never_overwrites(small_run: Path, small_study: Study) -> None:
    before = {path: path.read_bytes() for path in small_run.rglob("*") if path.is_file()}
    with pytest.raises(StudyError, match=r"holds a study already; nothing was overwritten: `ressearch resume"):
        ressearch.run(small_study, small_run)
    assert {path: path.read_bytes() for path in small_run.rglob("*") if path.is_file()} == before
