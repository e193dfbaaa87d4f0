"""The one order of trials: every command names the same network, by the study's own objective."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import ressearch
from ressearch import Study, load
from ressearch.cli import main
from ressearch.reporting.evidence import of_results
from ressearch.reporting.page import compose
from ressearch.reporting.tables import best_table
from ressearch.results.ranking import Objective, ranked, ranked_table
from ressearch.results.record import TrialRecord
from ressearch.results.status import Status
from ressearch.search.phases import best

STUDY = {
    "name": "ranking",
    "space": {"search": {"depth": [8, 14], "width": [2, 4, 6]}},
    "data": {"name": "synthetic"},
    "recipe": {"epochs": 1, "seeds": 2},
    "search": {"trials": 4, "sampler": "random", "objective": "val_loss", "finalists": {"count": 1, "seeds": 2}},
}

#  trial, phase, status, val_accuracy, val_loss, macs
MADE = [
    (0, "search", "completed", 0.90, 0.50, 400),  # best by accuracy
    (1, "search", "completed", 0.80, 0.20, 300),  # best by loss, dearer
    (2, "search", "completed", 0.80, 0.20, 200),  # best by loss, cheaper: the pick
    (3, "search", "stopped", 0.99, 0.01, 100),  # did not train every epoch
    (4, "final", "completed", 0.95, 0.10, 200),  # a finalist competes with nobody
]


def test_ties_go_to_the_cheaper_network_and_then_to_the_earlier() -> None:
    rows = [
        {"trial": t, "phase": p, "status": s, "val_accuracy": a, "val_loss": v, "macs": m} for t, p, s, a, v, m in MADE
    ]
    by_loss, by_accuracy = Objective.named("val_loss"), Objective.named("val_accuracy")
    assert [row["trial"] for row in ranked(rows, by_loss)] == [4, 2, 1, 0]
    assert [row["trial"] for row in ranked(rows, by_accuracy)] == [4, 0, 2, 1]
    assert [row["trial"] for row in ranked([*rows, {**rows[2], "trial": 7}], by_loss)] == [4, 2, 7, 1, 0]
    assert ranked_table(pd.DataFrame(rows), by_loss)["trial"].tolist() == [4, 2, 1, 0]
    assert ranked_table(pd.DataFrame(rows).iloc[:0], by_loss).empty
    assert by_loss.is_better(0.1, 0.2)
    assert not by_loss.is_better(0.2, 0.2)
    assert by_accuracy.is_better(0.2, 0.1)
    assert (by_loss.mode, by_accuracy.mode) == ("min", "max")
    assert Objective.of({}) == by_accuracy
    assert Objective.of({"study": {"search": {"objective": ["val_loss", "macs"]}}}) == by_loss
    assert Objective.of({"study": {"search": {"objective": ["unheard_of"]}}}) == by_accuracy


@pytest.fixture(scope="module")
def _ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(ressearch.run(Study.from_dict(STUDY), tmp_path_factory.mktemp("ranking") / "out"))


@pytest.fixture
def directory(_ran: Path, tmp_path: Path) -> Path:
    """A study of losses whose values were set by hand, in its journal; a seed's loss differs by 0.02 from the mean."""
    out = Path(shutil.copytree(_ran, tmp_path / "out"))
    values = {trial: (accuracy, loss) for trial, _, _, accuracy, loss, _ in MADE}
    lines = []
    for line in (out / "journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "start":
            event["macs"] = MADE[event["trial"]][5]
        if event["event"] == "epoch":
            for sign, result in zip((-0.02, 0.02), event["results"], strict=True):
                result["val_accuracy"], result["val_loss"] = values[event["trial"]][0], values[event["trial"]][1] + sign
        if event["event"] == "end" and event["trial"] == 3:
            event["status"], event["reason"] = "stopped", "by hand"
        lines.append(json.dumps(event))
    (out / "journal.jsonl").write_text("\n".join(lines) + "\n")
    for file in ("trials.parquet", "curves.parquet"):
        (out / file).unlink()
    return out


def test_every_command_names_the_same_network(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = load(directory)
    assert results.trials["val_loss"].round(6).tolist() == [0.5, 0.2, 0.2, 0.01, 0.1]
    name = results.trials.loc[2, "name"]
    main(["status", str(directory), "--json"])
    assert json.loads(capsys.readouterr().out)["best"]["trial"] == 2
    assert ressearch.pick(directory).trial == 2
    evidence = of_results(results)
    table = best_table(evidence)
    assert table["trial"].tolist() == [2, 1, 0]
    assert table["val_loss"].round(6).tolist() == [0.2, 0.2, 0.5]
    answer = compose(evidence).answer[0].sentence
    assert (
        f"By validation loss, which the study optimised, the best of 3 fully trained networks is {name} (0.2)" in answer
    )
    rows = [row for row in results.trials.to_dict("records") if row["phase"] == "search"]
    assert [row["trial"] for row in best(Study.from_directory(directory), rows, 2)] == [2, 1]  # type: ignore[arg-type]


def test_a_cheaper_network_within_a_standard_error_is_named_by_the_objective_too(directory: Path) -> None:
    # Two seeds that differ by 0.04: a standard deviation of 0.0283, a standard error of 0.02.
    lines = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]

    def write(cheaper: float) -> None:
        for event in lines:
            if event["event"] == "start" and event["trial"] == 1:
                event["macs"] = 150
            if event["event"] == "epoch" and event["trial"] == 1:
                for sign, result in zip((-0.02, 0.02), event["results"], strict=True):
                    result["val_loss"] = cheaper + sign
        (directory / "journal.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")

    write(0.219)
    chosen = ressearch.pick(directory)
    assert chosen.trial == 2
    assert chosen.cheaper is not None
    assert chosen.cheaper.trial == 1
    write(0.221)
    assert ressearch.pick(directory).cheaper is None


def test_a_record_is_typed(directory: Path) -> None:
    rows = load(directory).trials.to_dict("records")
    search, final = TrialRecord.from_row(rows[3]), TrialRecord.from_row(rows[4])  # type: ignore[arg-type]
    assert search.status is Status.STOPPED
    assert (search.trial, search.phase, search.reason, search.epochs, search.seeds) == (
        3,
        "search",
        "by hand",
        1,
        (0, 1),
    )
    assert search.of_trial is None
    assert search.test_accuracy is None
    assert search.seed_test_accuracies == ()
    assert search.seed_val_accuracies == (0.99, 0.99)
    assert search.val_loss == pytest.approx(0.01)
    assert search.cost.macs == 100
    assert search.architecture.name == search.name
    assert final.of_trial is not None
    assert isinstance(final.of_trial, int)
    assert len(final.seed_test_accuracies) == 2
    assert final.architecture.depth == final.depth


def test_a_status_is_stated_once_and_reads_as_a_text() -> None:
    assert [str(status) for status in Status] == [
        "running",
        "completed",
        "stopped",
        "diverged",
        "failed",
        "interrupted",
    ]
    assert json.dumps(Status.COMPLETED) == '"completed"'
    assert {status for status in Status if status.is_open} == {Status.RUNNING, Status.INTERRUPTED}
    assert all(status.summary for status in Status)
    package = Path(ressearch.__file__).parent
    for room in ("results", "search", "reporting"):
        for file in (package / room).glob("*.py"):
            if file.name != "status.py":
                for status in Status:
                    assert f'== "{status}"' not in file.read_text(), file
