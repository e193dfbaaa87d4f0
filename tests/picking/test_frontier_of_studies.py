"""Every budget at once: of a study, of several, on the command line, and in a report."""

from __future__ import annotations

import json
from typing import Any

import pytest
from made_tables import evidence, line
from picking.test_limits import seeded, study

import ressearch.picking.frontier
from ressearch import Architecture
from ressearch.cli import main
from ressearch.errors import BudgetError, StudyError
from ressearch.picking.frontier import every_budget
from ressearch.reporting.claims import claims_of
from ressearch.reporting.tables import budgets_table
from ressearch.results.store import Results

PRESET = Architecture.preset("resnet20-cifar")
ROWS = [
    seeded(0, [0.80, 0.82, 0.81], 100, train_seconds=30.0),
    seeded(1, [0.90, 0.92, 0.91], 300, train_seconds=60.0),
    seeded(2, [0.85, 0.87, 0.86], 200, train_seconds=90.0),
    seeded(3, [0.70, 0.72, 0.71], 400, train_seconds=None, name=PRESET.name),
    seeded(4, [0.99, 0.99], 50, status="stopped"),
]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Results]:
    holder = {"a": study(ROWS), "none": study([ROWS[4]])}
    monkeypatch.setattr(ressearch.picking.frontier, "load", lambda directory: holder[str(directory)])
    return holder


def test_each_budget_has_its_pick(made: dict[str, Results]) -> None:
    found = every_budget("a")
    assert [(one.budget, one.until, one.trial, one.candidates) for one in found.picks] == [
        (100.0, 200.0, 0, 1),
        (200.0, 300.0, 2, 2),
        (300.0, 400.0, 1, 3),
        (400.0, None, 1, 4),
    ]
    assert [one.val_accuracy for one in found.picks] == pytest.approx([0.81, 0.86, 0.91, 0.91])
    assert (found.at(250).trial, found.at(300).trial, found.at(1e9).trial) == (2, 1, 1)
    with pytest.raises(BudgetError, match="macs: no network has 99 or less; the least is 100"):
        found.at(99)
    assert [(one.budget, one.trial) for one in every_budget("a", "train_time").picks] == [
        (10.0, 0),
        (20.0, 1),
        (30.0, 1),
    ]
    assert [one.trial for one in every_budget("a", "params").picks] == [0, 1, 1, 1]
    assert [one.trial for one in every_budget("a", most=2).picks] == [0, 2]
    assert found.picks[2].cheapest_tied == found.picks[2].name
    assert found.picks[3].probability is not None
    assert found.picks[3].probability > 0.99


def test_a_published_network_stands_beside_the_pick_for_its_cost(made: dict[str, Results]) -> None:
    (one,) = every_budget("a").presets
    assert (one.preset, one.name, one.trial, one.cost, one.pick) == (
        "resnet20-cifar",
        PRESET.name,
        3,
        400.0,
        "basic-d1-w3",
    )
    assert one.difference == pytest.approx(0.2, abs=0.01)
    assert every_budget("a", "train_time").presets == ()  # how long it took is not known


def test_what_is_no_kind_of_budget_is_named(made: dict[str, Results]) -> None:
    with pytest.raises(BudgetError, match="axis: 'mac' is unknown; did you mean 'macs'"):
        every_budget("a", "mac")
    with pytest.raises(StudyError, match="none: no trial has trained every epoch yet"):
        every_budget("none")


def test_one_seed_each_says_no_more_than_the_means(made: dict[str, Results]) -> None:
    made["a"] = study([seeded(0, [0.8], 100), seeded(1, [0.9], 300), seeded(2, [0.7], 200)])
    found = every_budget(["a"]).picks
    assert [(one.trial, one.estimate, one.probability, one.tied, one.cheapest_tied) for one in found][:2] == [
        (0, None, None, (), None),
        (0, None, None, (), None),
    ]
    assert found[2].trial == 1


def test_losses_have_a_front_too(made: dict[str, Results]) -> None:
    rows = [
        seeded(trial, [0.5, 0.5], macs, val_loss=loss) for trial, macs, loss in ((0, 1, 0.9), (1, 2, 0.2), (2, 3, 0.5))
    ]
    rows[2]["name"] = PRESET.name
    made["a"] = study(rows, study={"search": {"objective": ["val_loss"]}})
    found = every_budget("a")
    assert [one.trial for one in found.picks] == [0, 1, 1]
    assert found.presets[0].difference == pytest.approx(0.3)


def test_the_command_line_prints_them(made: dict[str, Results], capsys: pytest.CaptureFixture[str]) -> None:
    main(["pick", "a", "--every", "macs"])
    said = [one.split() for one in capsys.readouterr().out.splitlines()]
    assert said[0] == ["macs", "from", "pick", "accuracy", "best", "tied"]
    assert [(one[0], one[1]) for one in said[1:4]] == [
        ("100", "basic-d1-w2"),
        ("200", "basic-d1-w4"),
        ("300", "basic-d1-w3"),
    ]
    assert len(said) == 5  # and a published network
    assert said[4][:3] == ["resnet20-cifar", "(400,", "0.7100):"]
    main(["pick", "a", "--every", "params", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["axis"], [one["trial"] for one in told["picks"]]) == ("params", [0, 1, 1, 1])
    for arguments, problem in (
        (["--every", "macs", "--max-size", "1MB"], "--every is every budget at once: it takes no --max-size"),
        (["--every", "money"], "axis: 'money' is unknown"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["pick", "a", *arguments])
        assert ended.value.code == 2
        assert problem in capsys.readouterr().err


def _table(**columns: Any) -> Any:
    means = {8: 0.80, 14: 0.90, 20: 0.85, 32: 0.95}
    return line(means, seeds=3, spread=0.004, skip="identity").assign(**columns)


def test_a_report_claims_the_pick_of_each_budget() -> None:
    table = _table()
    table["macs"] = table["depth"] * 1000.0
    found = evidence(table, examples=5000)
    claims = claims_of(found)["budgets"]
    assert [(one.subject["from"], one.subject["to"]) for one in claims] == [
        (8000, 14000),
        (14000, 32000),
        (32000, None),
    ]
    assert [one.estimate for one in claims] == pytest.approx([0.80, 0.90, 0.95], abs=0.004)
    assert all(one.low < one.estimate < one.high for one in claims)  # type: ignore[operator]
    assert [one.n for one in claims] == [3, 3, 3]
    assert [one.more["candidates"] for one in claims] == [1, 3, 4]
    assert claims[0].sentence.startswith("From 8k MACs on, to 14k, ")
    assert "the best of" not in claims[0].sentence
    assert claims[1].sentence.endswith(", the best of 3 with probability 100%.")
    assert claims[2].sentence.startswith("From 32k MACs on, ")
    shown = budgets_table(found)
    assert shown["macs"].tolist() == [8000, 14000, 20000, 32000]
    assert shown["of_networks"].tolist() == [1, 2, 3, 4]
    assert shown["tied"].tolist() == [1, 1, 1, 1]
    assert shown["probability"].tolist() == pytest.approx([1, 1, 1, 1], abs=0.01)


def test_ties_are_said_with_the_pick() -> None:
    table = line({8: 0.80, 14: 0.802, 20: 0.801}, seeds=3, spread=0.02, skip="identity")
    table["macs"] = table["depth"] * 1000.0
    sentence = claims_of(evidence(table, examples=5000))["budgets"][-1].sentence
    assert "cannot be told from it" in sentence


@pytest.mark.parametrize(
    "columns", [{}, {"macs": 5.0}, {"macs": 5.0, "seed": 0}], ids=["no cost", "one cost", "no seeds"]
)
def test_where_there_are_no_budgets_nothing_is_claimed(columns: dict[str, Any]) -> None:
    table = _table(**columns)
    if "seed" in columns:
        table = table.drop_duplicates("depth").assign(macs=[1.0, 2.0, 3.0, 4.0])
    found = evidence(table)
    assert claims_of(found)["budgets"] == []
    assert budgets_table(found).empty
