"""What a study does besides its trials: samplers, schedulers, budgets, points, finalists, other tools, clusters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import optuna
import pytest

import ressearch
from ressearch import Architecture, Study, load
from ressearch.errors import RessearchError, StudyError
from ressearch.results.schema import architecture_of
from ressearch.search.ledger import Ledger
from ressearch.search.monitor import Monitor
from ressearch.search.optuna_file import OPTUNA_FILE
from ressearch.search.proposer import Proposer
from ressearch.search.samplers import SAMPLERS
from ressearch.search.schedulers import bracket_trials
from ressearch.statistics.intervals import hypervolume

SPACE = {
    "depth": [8, 14],
    "width": {"low": 4, "high": 12},
    "skip": ["none", {"scaled": {"alpha": {"low": 0.2, "high": 1.0}}}],
    "bottleneck_ratio": {"low": 0.5, "high": 1.0, "step": 0.25},
}


def study(**changes: Any) -> Study:
    search = {"trials": 6, "sampler": "random", **changes.pop("search", {})}
    base = {"space": {"search": SPACE}, "data": {"name": "synthetic"}, "recipe": {"epochs": 3}}
    return Study.from_dict({**base, **changes, "search": {k: v for k, v in search.items() if v is not None}})


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[dict[str, Any]]]:
    """What each trial of a study reported to Tune, as a callback that is not ours hears it."""
    from ray import tune

    from ressearch.search import runner

    heard: dict[int, list[dict[str, Any]]] = {}

    class Witness(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            heard.setdefault(trial.config["trial"], []).append(result)

        def __getstate__(self) -> dict[str, Any]:
            return {}

    monkeypatch.setattr(runner, "callbacks", lambda *asked: [Witness()])
    return heard


def assert_record_holds_every_report(results: Any, reports: dict[int, list[dict[str, Any]]]) -> None:
    """Assert that rows and curves end with the epoch that decided, for stopped trials as for others."""
    epochs = {number: {one["epoch"]: one["val_accuracy"] for one in told} for number, told in reports.items()}
    curves = results.curves.groupby(["trial", "epoch"])["val_accuracy"].mean()
    assert {number: set(told) for number, told in epochs.items()} == {
        number: set(curves[number].index) for number in curves.index.unique("trial")
    }
    for row in results.trials.to_dict("records"):
        assert row["epochs"] == max(epochs[row["trial"]])
        assert row["val_accuracy"] == pytest.approx(epochs[row["trial"]][row["epochs"]])
        assert results.correct(row["trial"]).mean(1).tolist() == list(row["seed_val_accuracies"])


@pytest.mark.parametrize("objectives", [["val_accuracy"], ["val_accuracy", "macs"]])
@pytest.mark.parametrize("name", [*SAMPLERS, "grid"])
def test_every_sampler_proposes_new_networks_and_learns_from_what_they_reach(name: str, objectives: list[str]) -> None:
    space = {**SPACE, "skip": ["none", "identity"]}
    search = {"sampler": name, "objective": objectives, "trials": 14}
    if (name, len(objectives)) == ("cmaes", 2):
        with pytest.raises(StudyError, match="cmaes follows 1 objective, not 2"):
            study(space={"search": space}, search=search)
        return
    searched = study(space={"search": space}, search=search)
    proposer = Proposer(searched)
    proposed = []
    for number in range(14):
        config = proposer.suggest(str(number))
        proposed.append(Architecture.from_dict(config["architecture"]))
        proposer.on_trial_result(str(number), {"val_accuracy": 0.5, "epoch": 1})
        proposer.on_trial_complete(str(number), {"val_accuracy": 0.5 + proposed[-1].widths[0] / 100, "epoch": 3})
    assert len(set(proposed)) == 14
    assert proposer.suggest("14") == Proposer.FINISHED


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"sampler": "tpee"}, "did you mean 'tpe'?"),
        ({"scheduler": "pbt"}, "an architecture cannot change"),
        ({"scheduler": "bohb"}, "BOHB is tpe with hyperband"),
        ({"sampler": {"name": "gp", "seed_trials": 3}}, "no option of 'gp'"),
        ({"budget": {"wall_time": "soon"}}, "'soon' is not a time such as 90, 30m or 2h"),
        ({"budget": {"epoch": 3}}, "did you mean 'epochs'?"),
        ({"trials": None}, "needs a number of trials, or a budget"),
        ({"points": [{"depth": 9}]}, "search.points.0: depth: 9 is not in the space; known: 8, 14"),
        ({"points": [{"dept": 8}]}, "dept: no question of this space; did you mean 'depth'?"),
        ({"points": ["resnet21-cifar"]}, "did you mean"),
        ({"points": [7]}, "search.points.0: 7 is neither a mapping nor a name"),
        ({"points": ["resnet56-cifar"], "constraints": {"max_macs": "1M"}}, "beyond the constraints"),
        ({"warm_start": "nowhere"}, "search.warm_start.0: nowhere: no such directory"),
        ({"baseline": "grid"}, "'grid' is not 'random'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(search: dict[str, Any], message: str) -> None:
    with pytest.raises(RessearchError) as caught:
        study(search=search)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cmaes_needs_numbers_and_hyperband_no_bound() -> None:
    with pytest.raises(StudyError, match="cmaes searches two or more ranges of numbers, not choices"):
        study(space={"search": {"depth": [8, 14], "width": [4, 8]}}, search={"sampler": "cmaes"})
    with pytest.raises(StudyError, match="hyperband pauses trials while it starts others"):
        study(search={"scheduler": "hyperband"}, resources={"concurrency": 1})
    assert bracket_trials(9, 3) == 3 + 5 + 9


def test_hypervolume_is_the_dominated_area() -> None:
    assert hypervolume([1, 2, 3], [0.5, 0.4, 0.9], 4, 0.1) == pytest.approx(3 * 0.4 + 1 * 0.4)
    assert hypervolume([5], [0.9], 4, 0.1) == 0


def test_points_come_first_and_names_may_lie_outside_the_space() -> None:
    first = study(search={"points": ["resnet20-cifar", {"depth": 14, "skip": "none"}], "sampler": "tpe"})
    proposer = Proposer(first)
    one, other = (Architecture.from_dict(proposer.suggest(str(n))["architecture"]) for n in range(2))
    assert one == Architecture.preset("resnet20-cifar")
    assert (other.depth, other.skip) == (14, "none")


def test_finalists_baseline_budget_and_tensorboard(ray_started: None, tmp_path: Path) -> None:
    searched = study(
        search={
            "trials": None,
            "sampler": "tpe",
            "scheduler": "median",
            "budget": {"epochs": 24},
            "finalists": {"count": 2, "seeds": 2},
            "baseline": "random",
            "objective": ["val_accuracy", "macs"],
        },
        recipe={"epochs": 3, "seeds": [4, 7]},
        loggers=["tensorboard"],
    )
    directory = ressearch.run(searched, tmp_path / "run")
    results = load(directory)
    first, baseline, final = (results.phase(name).trials for name in ("search", "baseline", "final"))
    spent = int((first["epochs"] * first["seeds"].map(len)).sum())
    assert (first.loc[first["epochs"] > 0, ["macs_trained", "device_seconds"]] > 0).all().all()
    assert 24 <= spent <= 24 + 2 * 2 * 2  # trials in flight end at their next epoch
    trained, repeated = first["macs_trained"].sum(), baseline["macs_trained"]
    assert repeated.iloc[:-1].sum() < trained
    assert repeated.sum() == pytest.approx(trained, abs=repeated.max())
    assert not baseline["name"].duplicated().any()
    assert (baseline["status"] == "completed").all()
    assert [list(seeds) for seeds in final["seeds"]] == [[8, 9]] * 3
    best = first[first["status"] == "completed"].sort_values("val_accuracy", ascending=False)
    assert set(final["of_trial"].iloc[:2]) <= set(first["trial"])
    assert final["of_trial"].iloc[0] in best["trial"].tolist()
    assert final["test_accuracy"].between(0, 1).all()
    assert final["seed_test_accuracies"].map(len).tolist() == [2, 2, 2]
    for number, accuracies in zip(final["trial"], final["seed_test_accuracies"], strict=True):
        test = results.correct(number, "test")
        assert test is not None
        assert test.shape == (2, len(searched.splits().test))
        assert test.mean(1).tolist() == list(accuracies)
    for row in results.trials[results.trials["epochs"] > 0].to_dict("records"):
        validation = results.correct(row["trial"])
        assert validation is not None
        assert validation.shape == (2, len(searched.splits().validation))
        assert validation.mean(1).tolist() == list(row["seed_val_accuracies"])
        assert (results.correct(row["trial"], "test") is None) == (row["phase"] != "final")
    assert first["test_accuracy"].isna().all()
    assert baseline["test_accuracy"].isna().all()
    assert results.run["is_complete"]
    assert not (directory / "checkpoints").exists()
    assert len(list((directory / "tensorboard").glob("trial-*/events.*"))) == (results.trials["epochs"] > 0).sum()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(directory / OPTUNA_FILE)))
    stored = optuna.load_study(study_name="study", storage=storage)
    assert {trial.number for trial in stored.trials} >= set(first["proposal"].dropna().astype(int))
    page = ressearch.report(directory)
    text = (page.parent / "report.md").read_text()
    for said in ("the test split scored 3 finalists, once", "fresh seeds", "drawn at random", "hypervolume is 0."):
        assert said in text
    picked = ressearch.pick(directory)
    assert picked.trial in first["trial"].tolist()
    again = study(search={"warm_start": [str(directory)], "trials": 4}, recipe={"epochs": 3, "seeds": [4, 7]})
    proposer = Proposer(again)
    done = results.phase("search", "baseline").trials
    done = done[done["status"] == "completed"]
    known = {architecture_of(row) for _, row in done.iterrows()}
    assert proposer.sampling is not None
    told = sorted(trial.values[0] for trial in proposer.sampling.optuna_study.trials)
    assert told == sorted(done["val_accuracy"])  # same data, split and recipe: as they are
    assert not known & {Architecture.from_dict(proposer.suggest(str(n))["architecture"]) for n in range(4)}


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tool_that_is_not_set_up_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    from ressearch.search.loggers import _plainly

    class Tool:
        def setup(self, **info: Any) -> None:
            raise RuntimeError("no account\nlog in first")

    with pytest.raises(StudyError, match=rf"^loggers: {name} is not set up: no account$"):
        _plainly(name, Tool()).setup()
    with pytest.raises(StudyError, match=r"'wandbb' is unknown; did you mean 'wandb'"):
        study(loggers=["wandbb"])


def test_too_many_failures_end_the_study_with_one_message(
    ray_started: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ressearch.search import runner, sharing

    monkeypatch.setattr(runner, "_RESTARTS", 0)  # the reason does not go away
    monkeypatch.setattr(sharing, "share", lambda splits, with_test: {})  # no trial can start
    failing = study(resources={"trial_time_limit": "1h", "max_failure_rate": 0.2})
    with pytest.raises(StudyError, match=r"\d of \d trials failed") as caught:
        ressearch.run(failing, tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_budget_counts_what_is_on_record(small_run: Path, small_study: Study) -> None:
    from ressearch.results import Store

    store = Store(small_run)
    ledger = Ledger(small_study, store)
    assert ledger.epochs == 24
    assert ledger.macs == pytest.approx(load(small_run).trials["macs_trained"].sum())
    assert (ledger.spent, ledger.failing, ledger.stop_all()) == (None, None, False)
    store.close()


@pytest.mark.parametrize(
    ("outcomes", "is_failing"), [("ffff", False), ("fffff", True), ("fffccc", False), ("fdddd", False)]
)
def test_the_failure_rate_acts_once_five_trials_have_ended(outcomes: str, is_failing: bool, small_study: Study) -> None:
    class Record:
        broken = None
        statuses = {"f": "failed", "c": "completed", "d": "diverged"}  # noqa: RUF012

        class tables:
            trials = {  # noqa: RUF012
                number: {"phase": "search", "epochs": 0, "seeds": [0], "macs": 1, "status": status, "reason": "why"}
                for number, status in enumerate(["interrupted"] * 5)
            }

    for number, letter in enumerate(outcomes):
        Record.tables.trials[number + 5] = {**Record.tables.trials[0], "status": Record.statuses[letter]}
    ledger = Ledger(small_study, Record)  # type: ignore[arg-type]
    assert (ledger.failing is not None) == is_failing


def test_the_docs_say_how_many_trials_hyperband_starts_with_and_how_an_owner_of_a_url_shows_that_it_lives() -> None:
    from ressearch.results import ownership
    from ressearch.search import ledger

    text = " ".join((Path(__file__).parents[2] / "docs/search.md").read_text().split())
    said = [(int(trials), int(epochs)) for trials, epochs in re.findall(r"(\d+) for (\d+)", text)]
    assert said == [(bracket_trials(epochs), epochs) for epochs in (9, 27, 81)]
    assert ledger._FEW == 5
    assert "acts once five trials" in text
    assert f"a sign of life every {ownership.BEAT:.0f} s" in text
    assert f"silent for {ownership.EXPIRY:.0f} s" in text
    assert ownership.SETTLE == 2
    assert "in the same two seconds" in text


def test_a_study_directory_may_lie_behind_a_url(ray_started: None, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/bucket/run"

    class Stopper(Monitor):
        def epoch(self, row: Any) -> None:
            if row["trial"] == 3 and row["epochs"] == 2:
                raise RuntimeError("stop here")

    grid = Study.from_dict(
        {
            "space": {"grid": {"depth": [8, 14], "width": [4, 6, 8]}},
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 9},
        }
    )
    with pytest.raises(Exception, match="stop here"):
        ressearch.run(grid, url, Stopper())
    assert (tmp_path / "bucket/run/checkpoints").is_dir()
    assert not load(url).run["is_complete"]
    with pytest.raises(StudyError, match="is not empty; nothing was overwritten: `ressearch resume file:"):
        ressearch.run(grid, url)
    assert ressearch.resume(url) == url
    results = load(url)
    assert results.trials["status"].tolist() == ["completed"] * 6
    for number, (accuracy,) in zip(results.trials["trial"], results.trials["seed_val_accuracies"], strict=True):
        found = results.correct(number)
        assert found is not None
        assert found.mean() == accuracy
    assert not (results.directory / "examples").exists()
    assert load(tmp_path / "bucket/run").curves.duplicated(["trial", "seed", "epoch"]).sum() == 0
    assert not (tmp_path / "bucket/run/checkpoints").exists()
    with pytest.raises(StudyError, match="--out names a local directory"):
        ressearch.report(url)
    with pytest.raises(StudyError, match="cannot be reached"):
        load("nonsense://x/y")


def test_hyperband_stops_most_of_its_trials(
    ray_started: None, tmp_path: Path, reports: dict[int, list[dict[str, Any]]]
) -> None:
    banded = study(search={"scheduler": "hyperband", "trials": 17}, recipe={"epochs": 9})
    results = load(ressearch.run(banded, tmp_path / "run"))
    trials = results.trials
    assert len(trials) == 17
    assert (trials["status"] == "stopped").sum() >= 8
    assert set(trials.loc[trials["status"] == "stopped", "epochs"]) <= {1, 3}
    assert_record_holds_every_report(results, reports)


@pytest.mark.parametrize("scheduler", [{"name": "asha", "reduction_factor": 2}, "median"])
def test_a_stopped_trial_keeps_the_value_that_decided(
    scheduler: Any, ray_started: None, tmp_path: Path, reports: dict[int, list[dict[str, Any]]]
) -> None:
    stopping = study(search={"scheduler": scheduler, "trials": 10})
    results = load(ressearch.run(stopping, tmp_path / "run"))
    assert (results.trials["status"] == "stopped").any()
    assert_record_holds_every_report(results, reports)


def test_a_cluster_of_three_nodes_loses_one(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        grid = Study.from_dict(
            {
                "space": {"grid": {"depth": [8, 14], "width": [4, 6, 8]}},
                "data": {"name": "synthetic"},
                "recipe": {"epochs": 40},
            }
        )

        class Killer(Monitor):
            seen = 0

            def epoch(self, row: Any) -> None:
                self.seen += 1
                if self.seen == 20:
                    cluster.remove_node(nodes[0], allow_graceful=False)

        monitor = Killer()
        trials = load(ressearch.run(grid, tmp_path / "run", monitor, address=cluster.address)).trials
        assert monitor.seen >= 6 * 40
        assert trials["status"].tolist() == ["completed"] * 6
        assert trials["epochs"].tolist() == [40] * 6
    finally:
        cluster.shutdown()


def test_networks_beyond_latency_or_memory_are_never_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    from ressearch.search import latency

    monkeypatch.setattr(latency, "latency_of", lambda _, architecture: 0.001 if architecture.depth == 8 else 0.009)
    for sampler in ("tpe", "grid"):
        space = {"depth": [8, 14], "width": [4, 6, 8]}
        bounded = study(space={"search": space}, search={"sampler": sampler, "constraints": {"max_latency": 2}})
        asked = Proposer(bounded)
        configs = [config for n in range(6) if isinstance(config := asked.suggest(str(n)), dict)]
        assert {Architecture.from_dict(config["architecture"]).depth for config in configs} == {8}
        assert len(configs) == 3
    lean = study(search={"constraints": {"max_training_memory": "2.5M"}})
    every = [ressearch.cost(one, (1, 8, 8), 3).training_memory(64) for one in lean.search_space.sample(50)]
    assert max(every) <= 2_500_000
    assert max(ressearch.cost(one, (1, 8, 8), 3).training_memory(64) for one in study().search_space.sample(50)) > 3e6


def test_networks_larger_than_the_bytes_allowed_are_never_proposed() -> None:
    def largest(**constraints: str) -> int:
        space = study(search={"constraints": constraints}).search_space
        return max(sum(one.numel() for one in ressearch.build(net, 1, 3).parameters()) for net in space.sample(50))

    assert 15_000 < largest(max_size="80kB") <= 20_000
    assert 30_000 < largest(max_size="80kB", dtype="float16") <= 40_000
    assert largest() > 40_000
    with pytest.raises(StudyError, match=r"constraints.dtype: .*float16"):
        study(search={"constraints": {"max_size": "1MB", "dtype": "float8"}})
