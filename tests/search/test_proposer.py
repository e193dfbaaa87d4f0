"""What a proposer hands to Tune and how it tells the sampler what became of it, with the sampling stood in for."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ressearch import Architecture, Study
from ressearch.search import proposer as module
from ressearch.search.proposer import Fixed, Proposer, config_of
from ressearch.search.sampling import Proposal

NETWORKS = [Architecture(depths=(1, 1, 1), widths=(width, 2 * width, 4 * width)) for width in range(4, 12)]


def study(**changes: Any) -> Study:
    search = {"trials": 4, "sampler": "tpe", **changes.pop("search", {})}
    base = {"space": {"search": {"depth": 8, "width": {"low": 4, "high": 40}}}, "data": {"name": "synthetic"}}
    return Study.from_dict({**base, "recipe": {"epochs": 5}, **changes, "search": search})


class Sampling:
    """A sampling that proposes NETWORKS in turn and writes down what it is told."""

    def __init__(self, *given: Any) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.kept: dict[int, Proposal] = {}
        self.most = 99
        self.is_new = True
        self.drawing = SimpleNamespace(seen=set(), is_quick=lambda network: True, expressed=lambda point: None)

    def bring_in_line(self, rows: Any) -> None:
        self.told.append(("in line", [row["trial"] for row in rows]))

    def lost(self, number: int) -> Proposal | None:
        return self.kept.pop(number, None)

    def ask(self, number: int) -> Proposal | None:
        self.told.append(("ask", number))
        return Proposal((NETWORKS[number], 0.1), {"proposal": number}) if number < self.most else None

    def report(self, number: int, result: dict[str, Any]) -> None:
        self.told.append(("report", number, result["epoch"], result["val_accuracy"]))

    def tell(self, number: int, status: str, result: Any) -> None:
        self.told.append(("tell", number, status, result and (result["epoch"], result["val_accuracy"])))


@pytest.fixture(autouse=True)
def _sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Sampling", Sampling)


def row(number: int, status: str, epochs: int = 2) -> dict[str, Any]:
    from ressearch.results.schema import architecture_columns

    recipe = {"lr": 0.1, "epochs": 5}
    return {
        "trial": number,
        "status": status,
        "epochs": epochs,
        "recipe": json.dumps(recipe),
        **architecture_columns(NETWORKS[number]),
    }


def made(rows: Any = (), **changes: Any) -> tuple[Proposer, Sampling]:
    proposer = Proposer(study(**changes), rows)
    assert isinstance(proposer.sampling, Sampling)
    return proposer, proposer.sampling


def test_each_trial_has_its_number_network_and_columns_and_then_it_is_finished() -> None:
    proposer, sampling = made()
    for number in range(4):
        assert proposer.suggest(f"t{number}") == {
            "trial": number,
            "architecture": NETWORKS[number].to_dict(),
            "lr": 0.1,
            "columns": {"proposal": number},
        }
    assert proposer.suggest("t4") == Proposer.FINISHED
    assert sampling.told == [("in line", []), *(("ask", number) for number in range(4))]


def test_a_space_that_is_spent_finishes_the_search() -> None:
    proposer, sampling = made()
    sampling.most = 1
    proposer.suggest("a")
    assert proposer.suggest("b") == Proposer.FINISHED


def test_a_resumed_search_goes_on_with_what_is_open_and_takes_the_numbers_that_are_free() -> None:
    rows = [row(0, "completed"), row(2, "interrupted"), row(1, "running")]
    proposer, sampling = made(rows)
    sampling.kept[3] = Proposal((NETWORKS[7], 0.1), {"proposal": 9})
    assert sampling.told == [("in line", [0, 2, 1])]
    assert [proposer.suggest(name)["trial"] for name in ("a", "b")] == [2, 1]
    assert proposer.suggest("c") == {
        "trial": 3,
        "architecture": NETWORKS[7].to_dict(),
        "lr": 0.1,
        "columns": {"proposal": 9},
    }  # proposed before, and never started
    assert proposer.suggest("d") == Proposer.FINISHED
    assert sampling.told[1:] == []
    proposer.on_trial_complete("a", {"val_accuracy": 0.5, "epoch": 5})
    assert sampling.told[1:] == [("tell", 2, "completed", (5, 0.5))]


@pytest.mark.parametrize(
    ("told", "is_error", "status", "value"),
    [
        ({"val_accuracy": 0.75, "epoch": 5, "outcome": "completed"}, False, "completed", (5, 0.75)),
        ({"val_accuracy": 0.75, "epoch": 5}, False, "completed", (5, 0.75)),
        ({"val_accuracy": 0.75, "epoch": 4}, False, "stopped", (4, 0.75)),
        ({"outcome": "diverged"}, False, "diverged", (3, 0.25)),
        ({"outcome": "failed"}, False, "failed", (3, 0.25)),
        (None, False, "stopped", (3, 0.25)),  # the scheduler ended a trial that it had paused
        ({"val_accuracy": 0.75, "epoch": 5}, True, "failed", (5, 0.75)),
        (None, True, "failed", (3, 0.25)),
    ],
)
def test_an_end_is_told_with_the_last_value_there_is(told: Any, is_error: bool, status: str, value: Any) -> None:
    proposer, sampling = made()
    proposer.suggest("a")
    proposer.on_trial_result("a", {"val_accuracy": 0.25, "epoch": 3})
    proposer.on_trial_result("a", {"outcome": None, "epoch": 4})  # has no value
    proposer.on_trial_complete("a", told, is_error)
    assert sampling.told[2:] == [("report", 0, 3, 0.25), ("tell", 0, status, value)]
    proposer.on_trial_complete("a", told, is_error)  # told once
    proposer.on_trial_complete("nobody", told)
    assert len(sampling.told) == 4


def test_a_trial_that_never_reported_has_failed() -> None:
    proposer, sampling = made()
    proposer.suggest("a")
    proposer.on_trial_complete("a")
    assert sampling.told[-1] == ("tell", 0, "failed", None)


def test_a_grid_walks_every_network_with_every_rate_and_tells_nobody() -> None:
    space = {"grid": {"depth": 8, "width": [4, 5, 6]}}
    tuned = Study.from_dict({"space": space, "data": {"name": "synthetic"}, "recipe": {"lr": {"tune": [0.1, 0.3]}}})
    rows = [{**row(1, "completed"), "recipe": json.dumps({"lr": 0.3, "epochs": 5}), "trial": 1}]
    proposer = Proposer(tuned, rows)
    assert proposer.sampling is None
    found = [proposer.suggest(str(n)) for n in range(6)]
    points = [(Architecture.from_dict(one["architecture"]).widths[0], one["lr"], one["trial"]) for one in found[:5]]
    assert points == [(4, 0.1, 0), (4, 0.3, 2), (5, 0.1, 3), (6, 0.1, 4), (6, 0.3, 5)]
    assert found[0]["columns"] == {}
    assert found[5] == Proposer.FINISHED
    proposer.on_trial_result("0", {"val_accuracy": 0.5, "epoch": 1})
    proposer.on_trial_complete("0", {"val_accuracy": 0.5, "epoch": 1})


def test_a_sampled_space_may_be_walked_too() -> None:
    walked = Proposer(study(search={"sampler": "grid", "trials": 3}))
    assert walked.sampling is None
    assert [Architecture.from_dict(walked.suggest(str(n))["architecture"]).widths[0] for n in range(3)] == [4, 5, 6]


def test_points_that_are_named_come_first_whether_the_space_can_say_them_or_not() -> None:
    proposer, sampling = made(search={"points": ["resnet20-cifar"]})
    sampling.drawing.seen.clear()
    first = proposer.suggest("a")
    assert Architecture.from_dict(first["architecture"]) == Architecture.preset("resnet20-cifar")
    assert first["columns"] == {}
    assert (Architecture.preset("resnet20-cifar"), study().recipe.lrs[0]) in sampling.drawing.seen


def test_a_fixed_list_is_handed_out_in_order() -> None:
    fixed = Fixed(study(search={"objective": "val_loss"}), iter([{"trial": 4}, {"trial": 2}]))
    assert (fixed.metric, fixed.mode) == ("val_loss", "min")
    assert [fixed.suggest("x") for _ in range(3)] == [{"trial": 4}, {"trial": 2}, Fixed.FINISHED]
    assert fixed.__getstate__() == {}


def test_the_config_of_a_trial_on_record_says_its_rate_where_rates_are_tuned_alone() -> None:
    assert config_of(study(), row(3, "running")) == {"trial": 3, "architecture": NETWORKS[3].to_dict(), "lr": None}
    tuned = study(recipe={"lr": {"tune": [0.1, 0.3]}})
    assert config_of(tuned, row(3, "running"))["lr"] == 0.1


def test_a_sampler_says_of_itself_what_it_follows_and_is_replaced_on_purpose_alone() -> None:
    from ressearch.errors import RessearchError
    from ressearch.registry import unchanged
    from ressearch.search.samplers import SAMPLERS, SamplerType, sampler

    def mine(seed: int) -> Any:
        """Sample as I do."""

    with unchanged():
        assert sampler("mine", objectives=2, least_numbers=3, why="needs three")(mine) is mine
        assert SAMPLERS["mine"] == SamplerType(mine, 2, 3, "needs three")
        assert SAMPLERS["mine"].refusal(2, 3) is None
        assert SAMPLERS["mine"].refusal(3, 3) == ("follows 2 objective, not 3; tpe, gp, nsga2 and nsga3 follow several")
        assert SAMPLERS["mine"].refusal(2, 2) == "needs three; this space has 2"

        def other(seed: int) -> Any:
            """Sample as others do."""

        with pytest.raises(RessearchError):
            sampler("mine")(other)
        sampler("mine", replace=True)(other)
        assert SAMPLERS["mine"] == SamplerType(other, None, 0, "")
        assert SAMPLERS["mine"].refusal(9, 0) is None
