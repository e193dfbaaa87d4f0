"""What Optuna and Tune are told, heard by stand-ins that write it down."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune import schedulers as tune_schedulers

from ressearch import Architecture, Study
from ressearch.search import runner
from ressearch.search.phases import Phase
from ressearch.search.proposer import Proposer
from ressearch.search.resources import Slots
from ressearch.search.samplers import SAMPLERS
from ressearch.search.sampling import Sampling
from ressearch.search.schedulers import SCHEDULERS, bracket_trials

SPACE = {"depth": [8, 14, 20], "width": {"low": 4, "high": 40}}


def study(**changes: Any) -> Study:
    search = {"trials": 8, "sampler": "tpe", **changes.pop("search", {})}
    base = {"space": {"search": SPACE}, "data": {"name": "synthetic"}, "recipe": {"epochs": 9, "seeds": 1}}
    return Study.from_dict({**base, **changes, "search": search})


def sampling(**search: Any) -> Sampling:
    return Sampling(study(search=search), lambda architecture: True)


@pytest.mark.parametrize(
    ("objective", "directions"),
    [
        ("val_accuracy", "max"),
        ("val_loss", "min"),
        (["val_accuracy", "macs"], "max min"),
        (["val_accuracy", "macs", "val_loss"], "max min min"),
        (["val_loss", "params"], "min min"),
        (["val_accuracy", "activations"], "max min"),
    ],
)
def test_optuna_is_told_to_maximise_accuracy_and_to_minimise_loss_and_cost(objective: Any, directions: str) -> None:
    meant = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    told = sampling(objective=objective).optuna_study.directions
    assert told == [meant[word] for word in directions.split()]


def test_optuna_is_told_each_objectives_own_value() -> None:
    from ressearch import cost

    names = ["val_loss", "params", "val_accuracy", "macs"]
    asked = sampling(objective=names)
    proposal = asked.ask(0)
    assert proposal is not None
    asked.tell(0, "completed", {"val_accuracy": 0.75, "val_loss": 0.5, "epoch": 9})
    price = cost(proposal.point[0], (1, 8, 8), 3)
    (trial,) = asked.optuna_study.trials
    assert trial.values == [0.5, price.params, 0.75, price.macs]


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
def test_optuna_hears_the_epochs_of_its_objective_each_once_and_the_last_with_the_end(objective: str) -> None:
    asked = sampling(objective=objective)
    asked.ask(5)
    for epoch in (1, 2, 2, 3):
        asked.report(5, {"val_accuracy": epoch / 10, "val_loss": 9.0 - epoch, "epoch": epoch})
    asked.report(6, {"val_accuracy": 1.0, "val_loss": 0.0, "epoch": 1})  # no such trial
    asked.tell(5, "stopped", {"val_accuracy": 0.4, "val_loss": 5.0, "epoch": 4})
    heard = {1: (0.1, 8.0), 2: (0.2, 7.0), 3: (0.3, 6.0), 4: (0.4, 5.0)}
    (trial,) = asked.optuna_study.trials
    column = ("val_accuracy", "val_loss").index(objective)
    assert trial.intermediate_values == pytest.approx({epoch: values[column] for epoch, values in heard.items()})
    assert trial.state == TrialState.PRUNED
    assert trial.value == pytest.approx(heard[4][column])
    assert trial.user_attrs == {"trial": 5}


@pytest.mark.parametrize(
    ("status", "result", "state"),
    [
        ("completed", {"val_accuracy": 0.5, "val_loss": 1.0, "epoch": 9}, TrialState.COMPLETE),
        ("completed", None, TrialState.FAIL),
        ("stopped", {"val_accuracy": 0.5, "val_loss": 1.0, "epoch": 3}, TrialState.PRUNED),
        ("diverged", None, TrialState.PRUNED),
        ("failed", None, TrialState.FAIL),
        ("failed", {"val_accuracy": 0.5, "val_loss": 1.0, "epoch": 3}, TrialState.FAIL),
    ],
)
def test_optuna_is_told_how_a_trial_ended(status: str, result: Any, state: TrialState) -> None:
    asked = sampling()
    asked.ask(0)
    asked.tell(0, status, result)
    asked.tell(0, "completed", {"val_accuracy": 0.9, "val_loss": 0.1, "epoch": 9})  # told already
    (trial,) = asked.optuna_study.trials
    assert trial.state == state
    assert trial.value == (0.5 if state != TrialState.FAIL and result else None)


SAMPLER_CALLS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "random": ("RandomSampler", {}, {}),
    "qmc": ("QMCSampler", {"scramble": False}, {"scramble": False}),
    "tpe": (
        "TPESampler",
        {"n_startup_trials": 4, "n_ei_candidates": 30},
        {
            "n_startup_trials": 4,
            "n_ei_candidates": 30,
            "multivariate": True,
            "group": True,
            "constant_liar": True,
        },
    ),
    "gp": ("GPSampler", {"n_startup_trials": 4}, {"n_startup_trials": 4, "deterministic_objective": False}),
    "nsga2": ("NSGAIISampler", {"population_size": 12}, {"population_size": 12}),
    "nsga3": ("NSGAIIISampler", {"population_size": 12}, {"population_size": 12}),
}


@pytest.mark.parametrize("name", SAMPLER_CALLS)
def test_optunas_sampler_gets_the_studys_seed_and_options(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, options, expected = SAMPLER_CALLS[name]
    given: dict[str, Any] = {}

    def noted(**told: Any) -> optuna.samplers.BaseSampler:
        given.update(told)
        return optuna.samplers.RandomSampler()

    real = optuna.samplers.RandomSampler
    monkeypatch.setattr(optuna.samplers, kind, noted)
    if kind == "RandomSampler":
        monkeypatch.setattr(optuna.samplers, kind, lambda seed: given.update(seed=seed) or real(seed))
    Sampling(study(seed=41, search={"sampler": {"name": name, **options}}), lambda architecture: True)
    quiet = {"warn_asynchronous_seeding": False, "warn_independent_sampling": False}
    assert given == {"seed": 41, **expected, **{key: value for key, value in quiet.items() if key in given}}


def test_tpe_without_several_variables_has_no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(optuna.samplers, "TPESampler", lambda **told: given.append(told))
    for options in ({}, {"multivariate": False}, {"multivariate": True, "group": False}):
        SAMPLERS["tpe"].make(3, **options)
    assert [(one["multivariate"], one["group"]) for one in given] == [(True, True), (False, False), (True, False)]
    assert [(one["seed"], one["n_startup_trials"], one["n_ei_candidates"]) for one in given] == [(3, 10, 24)] * 3


def drawn(seed: int) -> list[Any]:
    asked = Sampling(study(seed=seed), lambda architecture: True)
    return [proposal.point for number in range(4) if (proposal := asked.ask(number)) is not None]


def test_another_seed_of_the_study_is_another_search() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize(("objective", "mode"), [("val_accuracy", "max"), ("val_loss", "min")])
@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_tunes_schedulers_are_told_the_metric_its_direction_and_the_epochs(
    name: str, objective: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    kind = {"asha": "ASHAScheduler", "hyperband": "HyperBandScheduler", "median": "MedianStoppingRule"}[name]
    monkeypatch.setattr(tune_schedulers, kind, lambda **given: told.update(given))
    SCHEDULERS[name](objective, mode, 81)
    assert (told["time_attr"], told["metric"], told["mode"]) == ("epoch", objective, mode)
    if name != "median":
        assert told["max_t"] == 81
        assert told["reduction_factor"] == 3
    if name != "hyperband":
        assert told["grace_period"] == 9
    if name == "median":
        assert told["min_samples_required"] == 3


@pytest.mark.parametrize(
    ("epochs", "asked", "grace"), [(81, None, 9), (5, None, 1), (8, None, 1), (81, 20, 20), (81, 200, 81), (1, None, 1)]
)
def test_ashas_first_rung_is_a_ninth_of_the_epochs_or_what_is_asked_for(
    epochs: int, asked: int | None, grace: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(tune_schedulers, "ASHAScheduler", lambda **given: told.update(given))
    SCHEDULERS["asha"]("val_accuracy", "max", epochs, grace_period=asked, reduction_factor=4)
    assert (told["grace_period"], told["reduction_factor"], told["max_t"]) == (grace, 4, epochs)


@pytest.mark.parametrize(("epochs", "trials"), [(81, 81 + 34 + 15 + 8 + 5), (27, 27 + 12 + 6 + 4), (9, 9 + 5 + 3)])
def test_hyperbands_brackets_hold_as_many_trials_as_its_paper_says(epochs: int, trials: int) -> None:
    """Li et al. 2018, table 1: for R = 81 and eta = 3 the brackets begin with 81, 34, 15, 8 and 5 configurations."""
    assert bracket_trials(epochs) == trials


@pytest.fixture
def tuner(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Tune is given, in the place of Tune."""
    from ray import tune

    from ressearch.search import sharing

    given: dict[str, Any] = {}

    class Tuner:
        def __init__(self, trainable: Any, *, tune_config: Any, run_config: Any) -> None:
            given.update(trainable=trainable, tune=tune_config, run=run_config)

        def fit(self) -> None:
            given["pending"] = os.environ.get("TUNE_MAX_PENDING_TRIALS_PG")

    def with_parameters(trainable: Any, **parameters: Any) -> Any:
        given.update(parameters)
        return trainable

    def with_resources(trainable: Any, resources: Any) -> Any:
        given["resources"] = resources
        return trainable

    monkeypatch.setattr(tune, "Tuner", Tuner)
    monkeypatch.setattr(tune, "with_parameters", with_parameters)
    monkeypatch.setattr(tune, "with_resources", with_resources)
    monkeypatch.setattr(sharing, "share", lambda splits, with_test: {"with_test": with_test})
    monkeypatch.delenv("TUNE_MAX_PENDING_TRIALS_PG", raising=False)
    return given


KEEPER: Any = SimpleNamespace()


def told_tune(searched: Study, name: str, directory: Path, at_once: int | None = None) -> Phase:
    phase = Phase(name, searched.recipe, Proposer(searched), SCHEDULERS["fifo"]("", "", 1), 7, at_once)
    store = SimpleNamespace(
        tables=SimpleNamespace(trials={}), active_seconds=0.0, broken=None, mirror=None, finish=lambda *why: None
    )
    monitor = SimpleNamespace(phase=lambda *given: None)
    slots = Slots(concurrency=3, cpus=2.0, gpus=0.5)
    assert runner._tune(searched, phase, directory, store, monitor, slots, KEEPER) is None  # type: ignore[arg-type]
    return phase


def test_tune_is_told_the_trials_their_share_and_where_to_leave_its_files(
    tuner: dict[str, Any], tmp_path: Path
) -> None:
    searched = study(resources={"trial_time_limit": "10m"})
    phase = told_tune(searched, "search", tmp_path)
    spec = tuner["spec"]
    assert (spec.recipe, spec.threads, spec.classes, spec.gpus) == (searched.recipe, 2, 3, 0.5)
    assert (spec.time_limit, spec.is_final, spec.checkpoints) == (600.0, False, f"{tmp_path}/checkpoints")
    assert tuner["data"] == {"with_test": False}
    assert tuner["resources"] == {"cpu": 2.0, "gpu": 0.5}
    told = tuner["tune"]
    assert (told.num_samples, told.max_concurrent_trials, told.reuse_actors) == (7, 3, True)
    assert told.scheduler is phase.scheduler
    assert told.search_alg._searcher is phase.searcher
    assert (told.search_alg.metric, told.search_alg.mode) == ("val_accuracy", "max")
    run = tuner["run"]
    assert (run.name, run.storage_path, run.verbose) == ("search", f"{tmp_path}/.tune", 0)
    assert run.failure_config.max_failures == 3
    assert run.checkpoint_config.checkpoint_at_end is False
    assert [type(one).__name__ for one in run.stop._stoppers] == ["Ledger", "Asked"]
    recorder = run.callbacks[0]
    assert recorder._ledger is run.stop._stoppers[0]
    assert (recorder._phase, recorder._recipe, recorder._devices) == ("search", searched.recipe, 0.5)
    assert len(run.callbacks) == 1
    assert tuner["pending"] is None


def test_finalists_alone_see_the_test_part(tuner: dict[str, Any], tmp_path: Path) -> None:
    for name in ("search", "baseline", "final"):
        told_tune(study(), name, tmp_path)
        assert tuner["spec"].is_final is (name == "final")
        assert tuner["data"] == {"with_test": name == "final"}


def test_a_scheduler_that_pauses_trials_is_handed_a_bracket_at_once(tuner: dict[str, Any], tmp_path: Path) -> None:
    told_tune(study(), "search", tmp_path, at_once=17)
    assert tuner["pending"] == "17"
    assert tuner["tune"].max_concurrent_trials is None
    assert "TUNE_MAX_PENDING_TRIALS_PG" not in os.environ


def test_a_searcher_watches_the_first_objective() -> None:
    proposer = Proposer(study(search={"objective": ["val_loss", "macs"]}))
    assert (proposer.metric, proposer.mode) == ("val_loss", "min")
    config = proposer.suggest("x")
    assert set(config) == {"trial", "architecture", "lr", "columns"}
    assert (config["trial"], config["lr"]) == (0, study().recipe.lrs[0])
    assert Architecture.from_dict(config["architecture"]).depth in (8, 14, 20)


def test_a_phase_whose_budget_is_spent_already_is_not_begun(tuner: dict[str, Any], tmp_path: Path) -> None:
    searched = study(search={"budget": {"wall_time": 5}})
    ended: list[tuple[str, ...]] = []
    store = SimpleNamespace(
        tables=SimpleNamespace(trials={}),
        active_seconds=6.0,
        broken=None,
        mirror=None,
        finish=lambda *why: ended.append(why),
    )
    phase = Phase("search", searched.recipe, Proposer(searched), SCHEDULERS["fifo"]("", "", 1), 7)
    slots = Slots(concurrency=1, cpus=1.0, gpus=0.0)
    assert runner._tune(searched, phase, tmp_path, store, None, slots, KEEPER) is None  # type: ignore[arg-type]
    assert ended == [("search", "the budget of 5 s is spent")]
    assert "tune" not in tuner


def test_cmaes_is_told_the_seed_its_first_step_and_to_keep_a_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    from ressearch.search.cmaes import CmaEs

    told: dict[str, Any] = {}
    monkeypatch.setattr(optuna.samplers.CmaEsSampler, "__init__", lambda self, **given: told.update(given))
    made = SAMPLERS["cmaes"].make(7, n_startup_trials=5, sigma0=0.25)
    assert isinstance(made, CmaEs)
    assert told == {"seed": 7, "n_startup_trials": 5, "with_margin": True, "warn_independent_sampling": False}
    assert made._sigma0 == 0.25
    SAMPLERS["cmaes"].make(7)
    assert told["n_startup_trials"] == 1


@pytest.mark.parametrize(
    ("name", "is_exhausted", "finished"), [("search", True, True), ("search", False, False), ("final", True, False)]
)
def test_a_search_whose_space_is_spent_says_so(
    tuner: dict[str, Any],
    tmp_path: Path,
    name: str,
    is_exhausted: bool,
    finished: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ressearch.search.stopping import Noted

    searched, ended = study(), []
    monkeypatch.setattr(Noted, "has_ended", lambda self, store: is_exhausted)
    store = SimpleNamespace(
        tables=SimpleNamespace(trials={}),
        active_seconds=0.0,
        broken=None,
        mirror=None,
        finish=lambda *why: ended.append(why),
    )
    phase = Phase(name, searched.recipe, Proposer(searched), SCHEDULERS["fifo"]("", "", 1), 7)
    monitor = SimpleNamespace(phase=lambda *given: None)
    runner._tune(searched, phase, tmp_path, store, monitor, Slots(1.0, 0.0, 1), KEEPER)  # type: ignore[arg-type]
    assert ended == ([("search", "the space holds no further network")] if finished else [])
    assert tuner["run"].callbacks[0]._devices == 1.0


def test_a_node_that_ended_is_why_a_phase_failed(
    tuner: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray import cloudpickle, tune
    from ray.exceptions import RayError

    registered: list[Any] = []
    searched, monitored = study(), [("", 0)][:0]

    def fit(self: Any) -> None:
        raise RayError("lost" + "x" * 300)

    monkeypatch.setattr(tune.Tuner, "fit", fit)
    monkeypatch.setattr(runner, "modules", lambda: ["one", "two"])
    monkeypatch.setattr(runner, "callbacks", lambda *given: [given])
    monkeypatch.setattr(cloudpickle, "register_pickle_by_value", registered.append)
    tables = SimpleNamespace(trials={})
    store = SimpleNamespace(tables=tables, active_seconds=0.0, broken=None, mirror=None, finish=lambda *why: None)
    monitor = SimpleNamespace(phase=lambda *given: monitored.append(given))
    phase = Phase("search", searched.recipe, Proposer(searched), SCHEDULERS["fifo"]("", "", 1), 7)
    slots = Slots(0.25, 0.0, 3)
    failure = runner._tune(searched, phase, tmp_path, store, monitor, slots, KEEPER)  # type: ignore[arg-type]
    assert failure is not None
    assert failure.startswith("Ray's node ended (")
    assert "lostxxx" in failure
    assert len(failure) == len("Ray's node ended ()") + 200
    assert registered == ["one", "two"]
    assert monitored == [("search", 7)]
    recorder, told = tuner["run"].callbacks
    assert told == ((), "study", tmp_path)
    assert (recorder._study, recorder._store, recorder._monitor, recorder._devices) == (searched, store, monitor, 0.25)
    assert (tuner["spec"].threads, tuner["spec"].plugins) == (1, ())
