"""Limits of a pick: units, what is exact and what is measured, several studies, and what was not trained to the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from results.made import RUN, point, results, row

import ressearch.picking.pick
from ressearch import Architecture, cost, pick
from ressearch.cli import main
from ressearch.errors import BudgetError, StudyError
from ressearch.networks.cost import Budget
from ressearch.picking.limits import Limits, exact, written
from ressearch.picking.pick import Picked, picks
from ressearch.reporting.claims import claims_of
from ressearch.reporting.evidence import of_results
from ressearch.results.store import Results
from ressearch.units import counted, format_seconds

RECIPE = json.dumps({"lr": 0.1, "epochs": 8, "batch_size": 16, "optimizer": "adamw", "precision": "bfloat16"})


def seeded(trial: int, scores: list[float], macs: int = 100, **values: Any) -> dict[str, Any]:
    mean = sum(scores) / len(scores)
    told = {"seeds": list(range(len(scores))), "recipe": RECIPE, "epochs": 8, "seed_val_accuracies": scores}
    return row(trial, mean, macs, **{**told, **values})


ROWS = [
    seeded(0, [0.80, 0.82], 100, train_seconds=20.0),
    seeded(1, [0.90, 0.92], 200, train_seconds=60.0),
    seeded(2, [0.905, 0.925], 300, train_seconds=100.0),
    seeded(3, [0.70, 0.72], 400, train_seconds=None),
    seeded(4, [0.60, 0.62], 50, status="stopped", epochs=3, train_seconds=12.0),
    seeded(5, [0.65, 0.67], 5000, status="stopped", epochs=2, train_seconds=4.0),
    seeded(6, [0.75, 0.77], 60, status="interrupted", epochs=4, train_seconds=16.0),
    row(7, None, 70, status="running", epochs=0, recipe=RECIPE, seeds=[0, 1]),
    seeded(8, [0.80, 0.82], 100, status="stopped", name="basic-d1-w2"),  # the network of trial 0, at another rate
    seeded(9, [0.1, 0.1], 10, status="failed"),
]
LATENCY = {0: 0.001, 1: 0.002, 2: 0.003, 3: 0.0005}


def study(rows: list[dict[str, Any]] | None = None, **run: Any) -> Results:
    listed = ROWS if rows is None else rows
    points = [
        {"trial": one["trial"], **point(8, seed, accuracy)}
        for one in listed
        for seed, accuracy in enumerate(one["seed_val_accuracies"] or [])
    ]
    return results(listed, points, {**RUN, **run})


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Results]:
    holder = {"a": study()}
    monkeypatch.setattr(ressearch.picking.pick, "load", lambda directory: holder[str(directory)])
    return holder


def chosen(**options: Any) -> Picked:
    options.setdefault("measure", lambda one: LATENCY.get(one.record.trial, 0.004))
    return picks("a", **options)


@pytest.mark.parametrize(
    ("bounds", "trials"),
    [
        ({}, [2, 1, 0, 3]),
        ({"max_size": "120B"}, [2, 1, 0]),  # 30 params of 4 bytes
        ({"max_size": 119}, [1, 0]),
        ({"max_size": 60, "dtype": "float16"}, [2, 1, 0]),
        ({"max_size": 59, "dtype": "bfloat16"}, [1, 0]),
        ({"max_train_time": "30s"}, [1, 0]),  # 60 seconds for two seeds; what is not known keeps no limit
        ({"max_train_time": "0.5m"}, [1, 0]),
        ({"max_train_time": 29.9}, [0]),
        ({"max_latency": "2ms"}, [1, 0, 3]),
        ({"max_latency": 1.9}, [0, 3]),
        ({"max_latency": "2000us", "max_params": 20, "max_macs": 150}, [0]),
    ],
    ids=str,
)
def test_a_pick_keeps_each_limit(bounds: dict[str, Any], trials: list[int], made: dict[str, Results]) -> None:
    found = chosen(n=9, **bounds)
    assert [one.trial for one in found.picks] == trials
    assert [one.candidates for one in found.picks] == [len(trials)] * len(trials)
    assert [one.trial for one in chosen(n=2, **bounds).picks] == trials[:2]


def test_memory_is_bounded_by_what_training_under_the_recipe_holds(made: dict[str, Results]) -> None:
    # AdamW keeps two numbers a parameter; activations are bfloat16, batches of 16.
    need = {
        trial: 4 * price.params * 4 + 2 * 16 * price.saved
        for trial in range(4)
        if (price := cost(Architecture(depths=(1,), widths=(trial + 2,)), (3, 32, 32), 10))
    }
    found = chosen(max_training_memory=need[1], n=9)
    assert [one.trial for one in found.picks] == [1, 0]
    assert found.picks[0].measured == (("training_memory", need[1]),)
    assert [one.trial for one in chosen(max_training_memory=need[1] - 1, n=9).picks] == [0]


def test_what_was_limited_is_told_with_its_unit(made: dict[str, Results]) -> None:
    best = chosen(max_latency=10, max_size=200, max_train_time="2m", max_macs=1000).picks[0]
    assert dict(best.measured) == {"size": 120, "train_time": 50.0, "latency": 0.003}
    assert "  weights 120B, trained a seed in 50s, latency 3ms\n" in str(best)
    assert {"size": 120, "train_time": 50.0, "latency": 0.003}.items() <= best.to_dict().items()


def test_no_more_latencies_are_measured_than_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [seeded(trial, [0.9 - trial / 1000, 0.9 - trial / 1000 + 0.01]) for trial in range(50)]
    monkeypatch.setattr(ressearch.picking.pick, "load", lambda directory: study(rows))
    asked: list[int] = []

    def measure(one: Any) -> float:
        asked.append(one.record.trial)
        return 0.001

    assert picks("a", max_latency=5, max_params=400, measure=measure).picks[0].trial == 0
    assert sorted(set(asked)) == list(range(20))
    assert len(picks("a", 30, max_latency=5, measure=measure).picks) == 30


def test_latency_is_measured_on_this_machine_with_the_threads_that_are_asked_for(
    made: dict[str, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = picks("a", max_latency="1h", threads=1)
    assert 0 < dict(found.picks[0].measured)["latency"] < 60


def test_where_nothing_fits_the_nearest_network_is_named_with_what_it_has(made: dict[str, Results]) -> None:
    with pytest.raises(BudgetError) as caught:
        chosen(max_macs=90, max_latency="0.1ms", max_train_time=1)
    # trial 0 misses latency and time by a factor of 10; trial 1 misses more, the time of trial 3 is not known
    assert str(caught.value) == (
        "a: none of the 4 fully trained networks fits the budget (macs <= 90, train_time <= 1s, latency <= 100us); "
        "the nearest, basic-d1-w2 (trial 0), has macs 100, train_time 10s and latency 1ms"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_latency": "soon"}, "max_latency: 'soon' is not a time such as 5ms, 30m or 2h"),
        ({"max_train_time": -1}, "max_train_time: -1 is not a time"),
        ({"max_size": "1 stone"}, "max_size: '1 stone' is not a size such as 2G"),
        ({"max_training_memory": 0}, "max_training_memory: 0 is not a positive size"),
        ({"dtype": "float15"}, "dtype: 'float15' is unknown; did you mean 'float16'?"),
        ({"max_latancy": 1}, "max_latancy: no limit; did you mean 'max_latency'?"),
    ],
    ids=str,
)
def test_what_is_no_limit_is_named(options: dict[str, Any], said: str, made: dict[str, Results]) -> None:
    with pytest.raises(BudgetError) as caught:
        chosen(**options)
    assert str(caught.value).startswith(said)


def test_networks_that_were_not_trained_to_the_end_are_named_with_what_they_need(made: dict[str, Results]) -> None:
    found = chosen(max_macs=1000).unfinished
    assert [(one.trial, one.epochs, one.of_epochs, one.seconds) for one in found] == [
        (6, 4, 8, 8.0),  # 16 seconds for two seeds and 4 epochs: 2 an epoch
        (4, 3, 8, 10.0),
        (7, 0, 8, None),
    ]
    assert str(found[0]) == (
        "basic-d1-w8 (trial 6)\n"
        "    interrupted after 4 of 8 epochs, val_accuracy 0.7600 so far; needs 4 more (about 8s a seed)"
    )
    assert str(found[2]) == "basic-d1-w9 (trial 7)\n    running after 0 of 8 epochs; needs 8 more"
    told = chosen(max_macs=1000).to_dict()["unfinished"]
    assert told[0] == {
        "name": "basic-d1-w8",
        "directory": "made",
        "trial": 6,
        "status": "interrupted",
        "val_accuracy": pytest.approx(0.76),
        "epochs": 4,
        "of_epochs": 8,
        "seconds": 8.0,
    }
    assert [one.trial for one in chosen().unfinished] == [6, 5, 4, 7]


def test_a_pick_and_the_report_say_the_same_of_the_best(made: dict[str, Results]) -> None:
    rows = [seeded(trial, [0.8 + trial / 100, 0.8 + trial / 100 + 0.02, 0.81 + trial / 100]) for trial in range(6)]
    final = seeded(9, [0.83, 0.835, 0.84, 0.82], phase="final", of_trial=5, seed_test_accuracies=[0.8] * 4)
    run = {
        "study": {"space": {"grid": None}},
        "question": "",
        "examples": {"train": 1000, "validation": 400},
    }
    made["a"] = study([*rows, final], **run)
    claims = {one.kind: one for one in claims_of(of_results(made["a"]))["winner"]}
    best, tied = claims["shrunk_winner"], claims["tied_with_best"]
    found = pick("a")
    assert (found.trial, found.architecture.name) == (best.subject["network"], best.subject["name"])
    assert (found.estimate, found.low, found.high) == pytest.approx((best.estimate, best.low, best.high))
    assert found.probability_of_best == pytest.approx(best.more["probability_of_best"])
    assert list(found.tied) == tied.more["members"]
    assert "4 fresh seeds of its own counted" in best.sentence or found.trial != 5


def test_the_best_within_a_limit_is_told_from_those_within_it_alone(made: dict[str, Results]) -> None:
    whole, within = chosen().picks[0], chosen(max_macs=200).picks[0]
    assert within.trial == 1
    assert within.probability_of_best is not None
    assert whole.probability_of_best is not None
    assert within.probability_of_best > 0.99  # no rival is left
    assert whole.probability_of_best < 0.9
    assert set(within.tied) == {"basic-d1-w3"}
    assert {"basic-d1-w3", "basic-d1-w4"} <= set(whole.tied)


def test_several_studies_are_one_field(made: dict[str, Results]) -> None:
    made["b"] = study([seeded(2, [0.95, 0.96], 250), seeded(3, [0.1, 0.2], 10)])
    found = picks(["a", "b"], 3)
    assert [(one.trial, one.val_accuracy) for one in found.picks] == [
        (2, pytest.approx(0.955)),
        (1, pytest.approx(0.91)),
        (0, pytest.approx(0.81)),
    ]
    assert found.picks[0].candidates == 4  # the same network counts once, where it did best
    made["c"] = study(split_fingerprint="another")
    with pytest.raises(StudyError, match="has other data or splits than made: they are not compared"):
        picks(["a", "c"])
    made["d"] = study(study={"search": {"objective": ["val_loss"]}})
    with pytest.raises(StudyError, match="its objective is val_loss, that of made val_accuracy"):
        picks(["a", "d"])


def test_fresh_seeds_count_for_the_trial_of_their_own_study(made: dict[str, Results]) -> None:
    made["b"] = study(
        [
            seeded(1, [0.906, 0.926], 250, name="other"),
            seeded(2, [0.5, 0.52], 250, name="poor"),
            seeded(5, [0.95, 0.95, 0.95, 0.95], phase="final", of_trial=1),
        ]
    )
    assert picks(["a", "b"]).picks[0].trial == 1


def test_the_command_line_takes_what_python_takes(made: dict[str, Results], capsys: pytest.CaptureFixture[str]) -> None:
    main(["pick", "a", "--max-size", "120B", "--max-train-time", "1m", "-n", "2"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1. picked from 3 fully trained networks, trial 2:"
    assert said[1] == "basic-d1-w4"
    assert "2. picked trial 1:" in said
    assert "these seeds cannot tell it from 1 other network within the limits" in said
    assert "4 more networks within the limits were not trained to the end:" not in said
    main(["pick", "a", "--max-macs", "250", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["trial"], [one["trial"] for one in told["unfinished"]]) == (1, [6, 4, 7])
    main(["pick", "a", "--max-macs", "250", "-n", "2", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["limits"], [one["trial"] for one in told["picks"]]) == ({"macs": 250}, [1, 0])
    with pytest.raises(SystemExit) as ended:
        main(["pick", "a", "--max-size", "2"])
    assert ended.value.code == 2
    assert "the nearest, basic-d1-w2 (trial 0), has size 40B" in capsys.readouterr().err


def test_a_budget_of_size_counts_bytes() -> None:
    price = cost(Architecture(depths=(1,), widths=(4,)))
    assert Budget(max_size=4 * price.params).allows(price)
    assert not Budget(max_size=4 * price.params - 1).allows(price)
    assert Budget(max_size=2 * price.params, bytes_per_weight=2).allows(price)
    assert str(Budget(max_size="1MB", max_macs="2M")) == "macs <= 2M, size <= 1MB"


def test_what_the_nearest_network_has_is_written_so_that_it_would_be_kept() -> None:
    assert (exact("params", 4934), exact("size", 19736), exact("latency", 0.001)) == ("4934", "19736B", "1ms")


def test_limits_read_as_they_are_written() -> None:
    found = Limits.read({"max_macs": "4M", "max_size": "1MB", "max_latency": "2ms", "max_train_time": "30m"})
    assert found.bounds == {"macs": 4_000_000, "size": 1_000_000, "latency": 0.002, "train_time": 1800.0}
    assert str(found) == "macs <= 4M, size <= 1MB, train_time <= 30min, latency <= 2ms"
    assert str(Limits.read({})) == "no bound"
    assert (written("size", 1.5e6), written("params", 1500), written("latency", 0.0123)) == ("1.5MB", "1.5k", "12.3ms")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.5e-6, "1.5us"),
        (0.00123, "1.23ms"),
        (0.9999, "1s"),
        (59.5, "59.5s"),
        (90, "1.5min"),
        (7200, "2h"),
        (1e8, "1157d"),
    ],
)
def test_times_are_written_in_three_digits(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_what_is_counted_has_its_number() -> None:
    assert [counted(count, "network") for count in (1, 0, 2)] == ["1 network", "0 networks", "2 networks"]


def test_a_path_is_a_directory_too(made: dict[str, Results]) -> None:
    assert pick(Path("a"), max_macs=100, measure=lambda one: 1.0).trial == 0
