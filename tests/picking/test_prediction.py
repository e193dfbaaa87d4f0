"""Picks from the whole space: limits, order, what is refused, and verification on fresh seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results.made import RUN, point, results

import ressearch
import ressearch.picking.pick
import ressearch.picking.prediction
from ressearch import Architecture, cost
from ressearch.cli import main
from ressearch.errors import BudgetError, StudyError
from ressearch.networks.latency import Latency
from ressearch.picking.prediction import predict, predicts, verify
from ressearch.picking.verified import VERIFIED, Verified, read_verified
from ressearch.results.schema import TRIALS, architecture_columns
from ressearch.results.store import Results
from ressearch.search.study import Study
from ressearch.spaces.space import SearchSpace

SPACE = {"skip": ["none", "identity"], "depths": {"low": 1, "high": 4}, "widths": {"low": 4, "high": 16}, "stages": 2}
SHAPE, CLASSES = (1, 8, 8), 10


def truth(network: Architecture) -> float:
    """Return a made-up accuracy that rises with width and skips, and falls with depth where there are none."""
    skips = network.skip == "identity"
    return 0.8 + 0.004 * sum(network.widths) + (0.03 if skips else -0.01 * sum(network.depths))


def made(count: int = 40, **run: Any) -> Results:
    """Return a random search of networks whose accuracy is `truth`, up to a noise of 0.002."""
    space = SearchSpace(SPACE, input_shape=SHAPE, num_classes=CLASSES)
    rng = np.random.default_rng(0)
    rows, points = [], []
    for trial, network in enumerate(dict.fromkeys(space.sample(count))):
        scores = [truth(network) + 0.002 * float(rng.standard_normal()) for _ in range(3)]
        price = cost(network, SHAPE, CLASSES)
        rows.append(
            {
                **dict.fromkeys(TRIALS.names),
                **architecture_columns(network),
                "trial": trial,
                "proposal": trial,
                "phase": "search",
                "name": network.name,
                "status": "completed",
                "depth": network.depth,
                "params": price.params,
                "macs": price.macs,
                "activations": price.activations,
                "epochs": 2,
                "seeds": [0, 1, 2],
                "val_accuracy": float(np.mean(scores)),
                "seed_val_accuracies": scores,
                "train_seconds": 1.0,
                "recipe": json.dumps({"epochs": 2, "lr": 0.1, "batch_size": 16}),
            }
        )
        points += [{"trial": trial, **point(2, seed, score)} for seed, score in enumerate(scores)]
    study = {
        "space": {"search": SPACE, "grid": None},
        "search": {"sampler": {"name": "random"}},
        "recipe": {"epochs": 2},
    }
    told = {"input_shape": list(SHAPE), "num_classes": CLASSES, "study": study, "examples": {"validation": 1000}}
    return results(rows, points, {**RUN, **told, **run})


@pytest.fixture(scope="module")
def study() -> Results:
    return made()


@pytest.fixture
def somewhere(study: Results, monkeypatch: pytest.MonkeyPatch) -> dict[str, Results]:
    holder = {"a": study}
    for module in (ressearch.picking.prediction, ressearch.picking.pick):
        monkeypatch.setattr(module, "load", lambda directory: holder[str(directory)])
    return holder


def test_the_best_of_the_whole_space_within_a_limit_are_found(somewhere: dict[str, Results]) -> None:
    space = SearchSpace(SPACE, input_shape=SHAPE, num_classes=CLASSES)
    done = set(somewhere["a"].trials["name"])
    found = predict("a", 5, candidates=3000, max_params=4000)
    assert len(found.picks) == 5
    others = [one for one in space.sample(400, seed=5) if cost(one, SHAPE, CLASSES).params <= 4000]
    for one in found.picks:
        assert one.cost == cost(one.architecture, SHAPE, CLASSES)
        assert one.cost.params <= 4000
        assert one.architecture.name not in done
        assert one.low < one.mean < one.high
        assert one.mean == pytest.approx(truth(one.architecture), abs=0.02)
        assert truth(one.architecture) > np.quantile([truth(other) for other in others], 0.9)
    means = [one.mean for one in found.picks]
    assert means == sorted(means, reverse=True)
    lows = [one.low for one in predict("a", 5, by="lower", candidates=3000, max_params=4000).picks]
    assert lows == sorted(lows, reverse=True)
    assert lows[0] >= max(one.low for one in found.picks)
    assert 0 < found.looked_at < 3000
    told = found.to_dict()
    assert told["picks"][0]["name"] == found.picks[0].architecture.name
    assert told["surrogate"]["trials"] == len(done)


def test_size_is_a_limit_of_what_was_not_trained_too(somewhere: dict[str, Results]) -> None:
    for dtype, size, most in (("float32", 4, 20_000), ("float16", 2, 10_000)):
        found = predict("a", 3, candidates=2000, max_size=most, dtype=dtype)
        assert all(one.cost.params * size <= most for one in found.picks)


def test_latency_is_foretold_for_all_and_measured_for_picks(
    somewhere: dict[str, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    class Model:
        overhead = 1e-4

        class error:
            median = 0.1

        def part(self, part: Any, shape: Any) -> float:
            return float(part.trace(shape)[0].macs) * 1e-9

    def measure(network: Architecture, shape: Any, classes: Any, batch_size: int, threads: int | None) -> Any:
        measured.append(network.name)
        assert (shape, classes, batch_size, threads) == (SHAPE, CLASSES, 2, 1)
        seconds = 1e-4 + cost(network, SHAPE, CLASSES).macs * 1e-9
        return Latency(seconds, seconds, seconds, 10, 2, "cpu", 1, False)

    monkeypatch.setattr(ressearch.picking.prediction, "latency_model", lambda space, **options: Model())
    monkeypatch.setattr(ressearch.picking.prediction, "measure_latency", measure)
    found = predict("a", 3, candidates=3000, max_latency="0.2ms", batch_size=2, threads=1)
    assert len(measured) <= 50
    assert len(found.picks) == 3
    for one in found.picks:
        assert one.latency is not None
        assert one.latency <= 2e-4
        assert one.latency == pytest.approx(1e-4 + one.cost.macs * 1e-9)
    assert found.looked_at < predict("a", 3, candidates=3000).looked_at
    assert "latency" in str(found.picks[0])


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"by": "luck"}, BudgetError, "by: 'luck' is unknown"),
        ({"max_train_time": 3}, BudgetError, "max_train_time: is not known of networks that were not trained"),
        (
            {"max_params": 10},
            BudgetError,
            "a: of 0 networks of the space within the limits (params <= 10) none is left",
        ),
        ({"max_macs": "many"}, BudgetError, "max_macs: 'many' is not a count"),
    ],
    ids=str,
)
def test_what_cannot_be_predicted_is_said(
    options: dict[str, Any], error: type[Exception], said: str, somewhere: dict[str, Results]
) -> None:
    with pytest.raises(error) as caught:
        predict("a", candidates=500, **options)
    assert str(caught.value).startswith(said)


def test_a_study_says_whether_it_can_be_predicted_from(somewhere: dict[str, Results], study: Results) -> None:
    assert predicts(study)
    few = made(20)
    assert not predicts(few)
    somewhere["a"] = few
    with pytest.raises(StudyError, match="needs 30"):
        predict("a")
    grid = made(study={"space": {"search": None, "grid": SPACE}, "search": {"sampler": {"name": "random"}}})
    assert not predicts(grid)
    somewhere["a"] = grid
    with pytest.raises(StudyError, match="trained a grid: there is nothing between its points to predict"):
        predict("a")


def test_the_command_line_predicts_where_a_study_says_enough(
    somewhere: dict[str, Results], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["pick", "a", "--candidates", "500", "--max-params", "5k"])
    said = capsys.readouterr().out
    assert "networks of the space within the limits, not trained to the end:" in said
    assert "predicted (90 %" in said
    assert "predicted from" in said
    main(["pick", "a", "--no-predict"])
    assert "predicted" not in capsys.readouterr().out
    main(["pick", "a", "--candidates", "500", "-n", "2", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert len(told["predicted"]["picks"]) == 2
    assert told["predicted"]["verified"] == []
    for arguments, problem in (
        (["a", "--by", "luck"], "by: 'luck' is unknown"),
        (["a", "--verify", "--no-predict"], "--verify trains networks that are predicted: it takes --predict too"),
        (["a", "a", "--predict"], "--predict and --verify take one study"),
        (["a", "a", "--verify"], "--predict and --verify take one study"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["pick", *arguments])
        assert ended.value.code == 2
        assert problem in capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("verify") / "out"
    told = {
        "name": "verify",
        "space": {"search": {"blocks_per_stage": [1, 2, 3], "width": {"low": 2, "high": 16}, "stages": 1}},
        "data": {"name": "synthetic"},
        "recipe": {"epochs": 1, "seeds": 2},
        "search": {"trials": 31, "sampler": "random"},
    }
    return Path(ressearch.run(Study.from_dict(told), directory))


@pytest.mark.slow
def test_picks_are_trained_on_seeds_that_the_study_has_not_used_and_kept(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picks = predict(trained, 2, candidates=100).picks
    said: list[Verified] = []
    found = verify(trained, picks, told=said.append)
    assert said == found
    assert [one.name for one in found] == [one.architecture.name for one in picks]
    assert all(one.seeds == (2, 3) for one in found)
    for one, pick in zip(found, picks, strict=True):
        assert one.val_accuracy == pytest.approx(sum(one.seed_val_accuracies) / 2)
        assert (one.mean, one.low, one.high) == (pick.mean, pick.low, pick.high)
        assert one.holds == (pick.low <= one.val_accuracy <= pick.high)
    assert read_verified(trained) == found
    with (trained / VERIFIED).open("a") as file:
        file.write('{"name": "cut o')
    assert read_verified(trained) == found
    before = (trained / VERIFIED).read_bytes()
    assert verify(trained, picks) == found
    assert (trained / VERIFIED).read_bytes() == before


def test_what_was_obtained_stands_beside_what_was_predicted() -> None:
    def one(value: float) -> Verified:
        return Verified("net", (3,), (value,), value, 0.5, 0.4, 0.6, 0.0)

    assert [one(value).holds for value in (0.39, 0.4, 0.6, 0.61)] == [False, True, True, False]
    assert str(one(0.5)) == "net: 0.5000 on 1 fresh seed, within the predicted 0.4000 to 0.6000"
    assert "above the predicted" in str(one(0.7))
    assert "below the predicted" in str(one(0.3))
