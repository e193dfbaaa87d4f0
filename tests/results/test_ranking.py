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
        {"trial": t, "name": str(t), "phase": p, "status": s, "val_accuracy": a, "val_loss": v, "macs": m, "epochs": 1}
        for t, p, s, a, v, m in MADE
    ]
    table = pd.DataFrame(rows).assign(of_trial=None, seed_val_accuracies=None)
    by_loss, by_accuracy = Objective.named("val_loss"), Objective.named("val_accuracy")
    assert [row["trial"] for row in ranked(rows, by_loss)] == [4, 2, 1, 0]
    assert [row["trial"] for row in ranked(rows, by_accuracy)] == [4, 0, 2, 1]
    assert [row["trial"] for row in ranked([*rows, {**rows[2], "trial": 7, "name": "7"}], by_loss)] == [4, 2, 7, 1, 0]
    assert ranked_table(table, by_loss)["trial"].tolist() == [2, 1, 0]
    assert ranked_table(table, by_loss, "final")["trial"].tolist() == [4]
    assert ranked_table(table.iloc[:0], by_loss).empty
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


def _seeded(trial: int, scores: list[float], macs: int = 100, **values: object) -> dict[str, object]:
    return {
        "trial": trial,
        "name": f"net-{trial}",
        "phase": "search",
        "status": "completed",
        "macs": macs,
        "epochs": 5,
        "of_trial": None,
        "val_accuracy": sum(scores) / len(scores),
        "seed_val_accuracies": scores,
        **values,
    }


def _order(rows: list[dict[str, object]], objective: str = "val_accuracy") -> list[object]:
    found = ranked_table(pd.DataFrame(rows), Objective.named(objective, 200))["trial"].tolist()
    listed = ranked([row for row in rows if row["phase"] == "search"], Objective.named(objective, 200), rows[-1:])
    if rows[-1]["phase"] == "final":
        assert [row["trial"] for row in listed] == found  # rows and table alike
    return found


FIELD = [_seeded(trial, [0.90 + 0.001 * trial - 0.01, 0.90 + 0.001 * trial + 0.01]) for trial in range(8)]
"""Eight networks of almost one accuracy, whose seeds differ by 0.02."""


def test_a_lucky_single_seed_does_not_beat_a_network_that_many_seeds_speak_for() -> None:
    lucky, proven = _seeded(20, [0.925]), _seeded(21, [0.92, 0.918, 0.922, 0.92, 0.919, 0.923])
    rows = [*FIELD, lucky, proven]
    assert float(str(lucky["val_accuracy"])) > float(str(proven["val_accuracy"]))
    assert _order(rows)[:2] == [21, 20]
    one_seed = [{**row, "seed_val_accuracies": list(row["seed_val_accuracies"])[:1]} for row in rows]  # type: ignore[call-overload]
    assert _order(one_seed)[:2] == [20, 21]  # nothing says what is chance: by means


def test_fresh_seeds_of_finalists_count_where_they_trained_as_long() -> None:
    ahead = _seeded(20, [0.930, 0.934])
    close = _seeded(21, [0.928, 0.930])
    final = _seeded(30, [0.90, 0.90, 0.90], phase="final", of_trial=20)
    assert _order([*FIELD, ahead, close])[:2] == [20, 21]
    assert _order([*FIELD, ahead, close, final])[0] == 21
    for excused in ({"epochs": 9}, {"status": "failed"}, {"of_trial": None}, {"of_trial": float("nan")}):
        assert _order([*FIELD, ahead, close, {**final, **excused}])[0] == 20, excused


def test_a_network_counts_once_at_its_best_rate_and_its_other_trials_stand_last() -> None:
    rows = [*FIELD, _seeded(20, [0.95, 0.95], name="net-7"), _seeded(21, [0.94, 0.94], name="net-7")]
    order = _order(rows)
    assert order[0] == 20
    assert order[-2:] == [21, 7]
    assert len(order) == 10


def test_losses_are_ranked_by_their_means() -> None:
    rows = [_seeded(trial, [0.5, 0.6, 0.7], val_loss=loss) for trial, loss in enumerate((0.3, 0.1, 0.2))]
    assert _order(rows, "val_loss") == [1, 2, 0]
