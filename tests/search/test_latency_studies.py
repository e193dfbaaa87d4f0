"""A study that optimises latency, from its file to its report: each trial has what this machine measured."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import ressearch
from ressearch import Architecture, Study
from ressearch.cli import main
from ressearch.networks.latency import measure_latency
from ressearch.search.earlier import earlier_studies
from ressearch.search.proposer import Proposer

SPACE = {"depth": [8, 14], "width": 4}


def study(**search: object) -> Study:
    return Study.from_dict(
        {
            "space": {"search": SPACE},
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 1},
            "search": {"trials": 2, "sampler": "tpe", **search},
        }
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    objective = ["val_accuracy", "latency"]
    return ressearch.run(study(objective=objective), tmp_path_factory.mktemp("latency") / "run")


def test_each_trial_has_what_was_measured_and_the_machine_keeps_it(directory: Path) -> None:
    trials = ressearch.load(directory).trials
    assert trials["status"].tolist() == ["completed"] * 2
    for _, row in trials.iterrows():
        network = Architecture.from_name(row["name"])
        again = measure_latency(network, (1, 8, 8), 3, threads=1, remember=True)
        assert row["latency"] == again.median
        assert 0 < row["latency"] < 1
    assert pd.read_parquet(directory / "trials.parquet")["latency"].notna().all()


def test_the_sampler_is_told_it(directory: Path) -> None:
    asked = study(objective=["val_accuracy", "latency"])
    rows = ressearch.load(directory).trials.to_dict("records")
    proposer = Proposer(asked, rows)
    assert proposer.sampling is not None
    told = [one.values for one in proposer.sampling.optuna_study.trials]
    assert sorted(told) == sorted([row["val_accuracy"], row["latency"]] for row in rows)


def test_report_and_status_show_it_in_milliseconds(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = ressearch.load(directory).trials
    text = ressearch.report(directory).with_suffix(".md").read_text()
    assert "The Pareto front of accuracy and latency" in text
    assert f"{1e3 * trials['latency'].min():.3g} ms" in text
    main(["status", str(directory)])
    (best,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("best")]
    assert best.endswith(" ms")


def test_a_warm_start_of_a_study_without_latency_is_not_comparable(directory: Path, tmp_path: Path) -> None:
    from ressearch.search.drawing import Drawing

    plain = ressearch.run(study(), tmp_path / "plain")
    assert ressearch.load(plain).trials["latency"].isna().all()
    asked = study(objective=["val_accuracy", "latency"], warm_start=[str(plain), str(directory)])
    without, measured = earlier_studies(asked, Drawing(asked, lambda network: True))
    assert [one.is_comparable for one in without.known] == [False, False]
    assert [len(one.values) for one in without.known] == [1, 1]
    assert [one.is_comparable for one in measured.known] == [True, True]
    assert [len(one.values) for one in measured.known] == [2, 2]
