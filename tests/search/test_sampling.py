"""What a search asks its sampler and tells it: new networks only, each result once, and nothing lost on resume."""

from __future__ import annotations

import functools
import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from profiles import examples

import ressearch
from ressearch import Architecture, SearchSpace, Study
from ressearch.errors import StudyError
from ressearch.networks.cost import cost
from ressearch.registry import unchanged
from ressearch.results.schema import architecture_columns
from ressearch.search import samplers
from ressearch.search.neighbours import neighbour
from ressearch.search.optuna_file import OPTUNA_FILE
from ressearch.search.proposer import Proposer
from ressearch.search.samplers import SAMPLERS
from ressearch.spaces.answers import answers_of

SMALL = {"depth": [8, 14], "width": {"low": 4, "high": 9}, "skip": ["none", "identity"], "kernel_size": [1, 3]}
TINY = {"depth": [8, 14], "width": {"low": 4, "high": 6}, "skip": ["none", "identity"]}
NUMBERS = {"width": {"low": 4, "high": 16}, "depths": {"low": 1, "high": 3}, "stages": 2}
CONDITIONAL = {
    "blocks_per_stage": {"low": 1, "high": 3},
    "width": {"low": 4, "high": 12, "step": 4},
    "skip": ["none", {"scaled": {"alpha": {"low": 0.2, "high": 1.0}}}],
}
REGNET = {
    "w0": {"low": 8, "high": 64, "step": 8},
    "wa": {"low": 8.0, "high": 64.0},
    "wm": {"low": 2.0, "high": 3.0},
    "depth": {"low": 8, "high": 24},
    "stages": 4,
}


def study(space: dict[str, Any] = SMALL, **search: Any) -> Study:
    section = {"trials": 100, "sampler": "tpe", **search}
    recipe = section.pop("recipe", {"epochs": 3})
    return Study.from_dict(
        {"space": {"search": space}, "data": {"name": "synthetic"}, "recipe": recipe, "search": section}
    )


def score(network: Architecture) -> float:
    """A stand-in for an accuracy."""
    return 0.9 - abs(network.widths[0] - 6) / 50 - abs(network.depths[0] - 2) / 20


def run(proposer: Proposer, trials: int, first: int = 0) -> list[Architecture]:
    """Ask for trials one at a time and tell what each reached; returns the networks until FINISHED."""
    networks = []
    for number in range(first, first + trials):
        config = proposer.suggest(str(number))
        if config == Proposer.FINISHED:
            break
        networks.append(Architecture.from_dict(config["architecture"]))
        proposer.on_trial_complete(str(number), {"val_accuracy": score(networks[-1]), "epoch": 3})
    return networks


def record(configs: list[dict[str, Any]], asked: Study, statuses: list[str], epochs: int = 3) -> list[dict[str, Any]]:
    """The rows that a store would hold of these proposals."""
    rows = []
    for config, status in zip(configs, statuses, strict=True):
        network = Architecture.from_dict(config["architecture"])
        is_scored = status in ("completed", "stopped")
        rows.append(
            {
                "trial": config["trial"],
                "status": status,
                "recipe": asked.recipe.with_lr(config["lr"]).model_dump_json(),
                "epochs": epochs if is_scored else 0,
                "val_accuracy": score(network) if is_scored else None,
                **architecture_columns(network),
                "proposal": None,
                "answers": None,
                **config["columns"],
            }
        )
    return rows


class Recording(optuna.samplers.BaseSampler):
    """Passes everything on to a sampler and keeps what it is told."""

    def __init__(self, inner: optuna.samplers.BaseSampler) -> None:
        self.inner, self.told, self.asked = inner, [], 0

    def infer_relative_search_space(self, *arguments: Any) -> Any:
        self.asked += 1
        return self.inner.infer_relative_search_space(*arguments)

    def sample_relative(self, *arguments: Any) -> Any:
        return self.inner.sample_relative(*arguments)

    def sample_independent(self, *arguments: Any) -> Any:
        return self.inner.sample_independent(*arguments)

    def before_trial(self, *arguments: Any) -> None:
        self.inner.before_trial(*arguments)

    def after_trial(self, study: optuna.Study, trial: Any, state: TrialState, values: Any) -> None:
        self.told.append((trial.user_attrs, trial.params, state, values, study.directions))
        self.inner.after_trial(study, trial, state, values)


@pytest.fixture
def recorded() -> Iterator[list[Recording]]:
    """Every sampler that is made from now on, recording."""
    made: list[Recording] = []

    def recording(kind: samplers.SamplerType) -> samplers.SamplerType:
        @functools.wraps(kind.make)
        def make(seed: int, **options: Any) -> Recording:
            made.append(Recording(kind.make(seed, **options)))
            return made[-1]

        return samplers.SamplerType(make, kind.objectives, kind.least_numbers, kind.why)

    with unchanged():
        for name, kind in SAMPLERS.items():
            SAMPLERS.add(name, recording(kind), replace=True)
        yield made


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("objectives", [["val_accuracy"], ["val_loss", "macs"]])
def test_every_sampler_spends_a_small_space_and_hears_each_result_once(
    name: str, objectives: list[str], recorded: list[Recording]
) -> None:
    if (name, len(objectives)) == ("cmaes", 2):
        pytest.skip("follows one objective")
    space = {"cmaes": NUMBERS, "gp": TINY}.get(name, SMALL)
    options = {"name": name, "n_startup_trials": 8} if name == "gp" else name
    asked = study(space, sampler=options, objective=objectives, trials=60)
    every = set(asked.search_space.enumerate())
    proposer, networks = Proposer(asked), []
    while (config := proposer.suggest(str(len(networks)))) != Proposer.FINISHED:
        network = Architecture.from_dict(config["architecture"])
        value = score(network)
        networks.append(network)
        proposer.on_trial_complete(str(len(networks) - 1), {"val_accuracy": value, "val_loss": value, "epoch": 3})
    wanted = min(60, len(every))
    assert len(networks) == len(set(networks)) == wanted
    assert set(networks) <= every
    if name != "cmaes":
        assert set(networks) == every
    sampler, searched = recorded[-1], asked.search_space
    assert proposer.sampling is not None
    assert proposer.sampling.asked <= wanted + 1
    told = {attributes["trial"]: one for attributes, *one in sampler.told if "trial" in attributes}
    assert sorted(told) == list(range(wanted))
    assert len(told) == sum("trial" in one[0] for one in sampler.told)
    for number, (params, state, values, directions) in told.items():
        price = cost(networks[number], searched.input_shape, searched.num_classes)
        expected = {"val_accuracy": score(networks[number]), "val_loss": score(networks[number]), "macs": price.macs}
        assert state == TrialState.COMPLETE
        assert values == [expected[objective] for objective in objectives]
        assert answers_of(searched, networks[number]) is not None
        assert [one.name for one in directions] == ["MAXIMIZE" if objectives == ["val_accuracy"] else "MINIMIZE"] * len(
            objectives
        )
        assert set(params) <= {*space, "depths[0]", "depths[1]"}


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2", "qmc", "cmaes", "random"])
def test_points_that_are_refused_stall_no_sampler(name: str) -> None:
    trials = 12 if name == "gp" else 24
    proposer = Proposer(study(REGNET, sampler=name, trials=trials, constraints={"max_macs": "2M"}))
    assert len(set(run(proposer, 30))) == trials
    assert proposer.sampling is not None
    assert proposer.sampling.asked <= trials


def test_a_duplicate_is_told_its_known_value(recorded: list[Recording]) -> None:
    proposer = Proposer(study(trials=40))
    run(proposer, 40)
    known = {}
    again = 0
    for attributes, params, state, values, _ in recorded[0].told:
        key = json.dumps(params, sort_keys=True)
        if "trial" in attributes:
            known[key] = values
        elif state == TrialState.COMPLETE:
            again += 1
            assert values == known[key]
    assert again > 0


def test_tpe_finds_the_best_of_960_points_that_random_search_misses() -> None:
    space = {**SMALL, "width": {"low": 4, "high": 43}, "depth": [8, 14, 20, 26, 32, 38]}
    found = {}
    for name in ("tpe", "random"):
        bests = []
        for seed in range(3):
            asked = study(space, sampler=name, trials=40).model_copy(update={"seed": seed})
            bests.append(max(map(score, run(Proposer(asked), 40))))
        found[name] = sum(bests)
    assert found["tpe"] > found["random"]


@examples(60)
@given(st.integers(0, 10**6), st.sampled_from([SMALL, NUMBERS, CONDITIONAL]))
def test_a_neighbour_differs_by_the_answers_that_were_changed(seed: int, space: dict[str, Any]) -> None:
    from ressearch.search.neighbours import Noted
    from ressearch.spaces.trials import RandomTrial

    searched = SearchSpace(space, input_shape=(1, 8, 8), num_classes=3)
    first = Noted(RandomTrial(seed))
    searched.suggest(first)
    near = neighbour(first.params, first.distributions, 1, random.Random(seed))
    searched.suggest(near)
    changed = {name for name in first.params if name in near.params and first.params[name] != near.params[name]}
    assert len(changed) == 1
    for name, value in near.params.items():
        assert near.distributions[name]._contains(near.distributions[name].to_internal_repr(value))


@examples(60)
@given(st.integers(0, 10**6), st.sampled_from([SMALL, NUMBERS, CONDITIONAL]))
def test_a_network_of_a_space_can_be_said_in_its_answers(seed: int, space: dict[str, Any]) -> None:
    from ressearch.spaces.trials import FixedTrial

    searched = SearchSpace(space, input_shape=(1, 8, 8), num_classes=3)
    network = searched.sample(1, seed)[0]
    answers = answers_of(searched, network)
    assert answers is not None
    assert searched.suggest(FixedTrial(answers)) == network
    assert answers_of(searched, Architecture.preset("resnet50-imagenet")) is None


# How trials end


@pytest.mark.parametrize("name", ["tpe", "nsga2", "gp", "cmaes"])
def test_a_stopped_trial_is_pruned_with_the_value_that_decided(name: str) -> None:
    proposer = Proposer(study(NUMBERS, sampler=name, trials=9))
    for number in range(3):
        proposer.suggest(str(number))
    proposer.on_trial_result("0", {"val_accuracy": 0.4, "epoch": 1})
    # Tune tells a searcher of the epoch that decided with the end alone.
    proposer.on_trial_complete("0", {"val_accuracy": 0.3, "epoch": 2})
    proposer.on_trial_result("1", {"val_accuracy": 0.5, "epoch": 1})
    proposer.on_trial_complete("1")  # a scheduler ends a trial that it had paused: Tune passes no result on
    proposer.on_trial_complete("2", {"outcome": "diverged", "reason": "loss"})
    assert proposer.sampling is not None
    first, second, third = proposer.sampling.optuna_study.get_trials()[:3]
    assert (first.state, first.value, first.intermediate_values) == (TrialState.PRUNED, 0.3, {1: 0.4, 2: 0.3})
    assert (second.state, second.value) == (TrialState.PRUNED, 0.5)
    assert (third.state, third.value) == (TrialState.PRUNED, None)
    run(proposer, 6, first=3)
    completed = proposer.sampling.optuna_study.get_trials(states=[TrialState.COMPLETE])
    assert all(one.intermediate_values == {3: one.value} for one in completed if "trial" in one.user_attrs)


@pytest.mark.parametrize("name", ["tpe", "nsga2", "nsga3", "gp"])
def test_with_several_objectives_an_early_value_never_passes_for_a_final_one(name: str) -> None:
    trials = 11 if name == "gp" else 20  # a Gaussian process takes its time
    proposer = Proposer(study(sampler=name, objective=["val_accuracy", "macs"], trials=trials))
    for number in range(2):
        proposer.suggest(str(number))
        proposer.on_trial_result(str(number), {"val_accuracy": 0.9, "epoch": 1})
    proposer.on_trial_complete("0", {"val_accuracy": 0.9, "epoch": 1})
    proposer.on_trial_complete("1", error=True)
    assert proposer.sampling is not None
    first, second = proposer.sampling.optuna_study.get_trials()
    assert [first.state, second.state] == [TrialState.PRUNED, TrialState.FAIL]
    assert first.values is None
    assert len(run(proposer, 18, first=2)) == trials - 2
    assert len(proposer.sampling.optuna_study.best_trials) > 0


# Resuming


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("loss", ["nothing", "file", "tail", "lock"])
def test_a_resumed_sampler_knows_the_record_whatever_its_file_lost(tmp_path: Path, name: str, loss: str) -> None:
    asked = study(NUMBERS, sampler=name, trials=12)
    first = Proposer(asked, (), tmp_path)
    configs = [first.suggest(str(number)) for number in range(7)]
    for number in range(3):
        first.on_trial_complete(str(number), {"val_accuracy": score(_network(configs[number])), "epoch": 3})
    # Killed here: 3 ended, 4 was stopped and 5 trains, none of which Optuna was told; 6 was never started.
    rows = record(configs[:6], asked, ["completed"] * 4 + ["stopped", "running"])
    rows[4]["epochs"] = 2
    file = tmp_path / OPTUNA_FILE
    if loss == "file":
        file.unlink()
    elif loss == "tail":
        file.write_bytes(file.read_bytes()[:-7])
    elif loss == "lock":
        file.with_name(file.name + ".lock").symlink_to(file)
    again = Proposer(asked, rows, tmp_path)
    assert again.sampling is not None
    ours = {
        one.user_attrs["trial"]: one for one in again.sampling.optuna_study.get_trials() if "trial" in one.user_attrs
    }
    for number in range(4):
        assert (ours[number].state, ours[number].value) == (TrialState.COMPLETE, score(_network(configs[number])))
    assert (ours[4].state, ours[4].intermediate_values) == (TrialState.PRUNED, {2: rows[4]["val_accuracy"]})
    assert ours[5].state == TrialState.RUNNING
    resumed = [again.suggest(str(number)) for number in range(7)]
    assert (resumed[0]["trial"], resumed[0]["architecture"]) == (5, configs[5]["architecture"])
    assert [one["trial"] for one in resumed[1:]] == [6, 7, 8, 9, 10, 11]
    if loss == "nothing" or name == "random":
        assert resumed[1]["architecture"] == configs[6]["architecture"]
    assert again.suggest("7") == Proposer.FINISHED
    networks = [_network(one) for one in (*configs[:6], *resumed[1:])]
    assert len(set(networks)) == 12


def _network(config: dict[str, Any]) -> Architecture:
    return Architecture.from_dict(config["architecture"])


@pytest.mark.parametrize("missing", [(2,), (5, 6), (0, 3, 6)])
def test_a_resumed_random_search_draws_what_an_undisturbed_one_does_even_with_gaps(
    tmp_path: Path, missing: tuple[int, ...]
) -> None:
    asked = study(sampler="random", trials=48)
    undisturbed = [Proposer(asked).suggest("0")]
    whole = Proposer(asked)
    undisturbed = [whole.suggest(str(number)) for number in range(48)]
    kept = [one for one in undisturbed[:7] if one["trial"] not in missing]
    again = Proposer(asked, record(kept, asked, ["completed"] * len(kept)), tmp_path)
    later = {one["trial"]: one["architecture"] for one in (again.suggest(str(n)) for n in range(48 - len(kept)))}
    assert later == {one["trial"]: one["architecture"] for one in undisturbed if one not in kept}


def test_a_resumed_grid_keeps_the_number_of_each_point() -> None:
    grid = Study.from_dict({"space": {"grid": SMALL}, "data": {"name": "synthetic"}})
    whole = Proposer(grid)
    every = [whole.suggest(str(number)) for number in range(grid.planned_trials)]
    kept = [one for one in every if one["trial"] not in (1, 4)]
    again = Proposer(grid, record(kept, grid, ["completed"] * len(kept)))
    assert [again.suggest("0"), again.suggest("1")] == [every[1], every[4]]
    assert again.suggest("2") == Proposer.FINISHED


# Reading runs no code


class Evil:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", SAMPLERS)
def test_resuming_unpickles_nothing_of_a_study_directory(tmp_path: Path, name: str) -> None:
    options = {"name": name, "n_startup_trials": 1} if name in ("cmaes", "gp", "tpe") else name
    asked = study(NUMBERS, sampler=options, trials=40)
    first = Proposer(asked, (), tmp_path)
    configs = [first.suggest(str(number)) for number in range(12)]
    for number in range(12):
        first.on_trial_complete(str(number), {"val_accuracy": score(_network(configs[number])), "epoch": 3})
    file, trace = tmp_path / OPTUNA_FILE, tmp_path / "ran"
    text = file.read_text()
    assert "optimizer" not in text
    evil = pickle.dumps(Evil(trace)).hex()
    attributes = {f"{prefix}:optimizer:0": evil for prefix in ("cma", "cmawm", "sepcma")}
    stored = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    loaded = optuna.load_study(study_name=asked.name, storage=stored)
    finished = loaded.get_trials(deepcopy=False)
    for frozen in finished:
        frozen.system_attrs.update(attributes)
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    other = optuna.create_study(
        study_name=asked.name,
        direction="maximize",
        storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(hostile / OPTUNA_FILE))),
    )
    other.add_trials(finished)
    assert evil in (hostile / OPTUNA_FILE).read_text()
    again = Proposer(asked, record(configs, asked, ["completed"] * 12), hostile)
    run(again, 2 if name == "gp" else 12, first=12)
    assert not trace.exists()
    if name == "cmaes":  # the trap works: Optuna's own sampler springs it
        other.sampler = optuna.samplers.CmaEsSampler(
            with_margin=True, n_startup_trials=1, warn_independent_sampling=False
        )
        other.ask().suggest_int("width", 4, 16)
        assert trace.exists()


def test_a_resumed_cmaes_goes_on_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    space = {
        "bottleneck_ratio": {"low": 0.25, "high": 4.0},
        "se_ratio": {"low": 0.05, "high": 1.0},
        "block": ["bottleneck"],
    }

    def value(config: dict[str, Any]) -> float:
        answers = json.loads(config["columns"]["answers"])
        return 1 - (answers["bottleneck_ratio"] - 3) ** 2 / 10 - (answers["se_ratio"] - 0.2) ** 2

    asked = study(space, sampler="cmaes", trials=60)
    first, configs = Proposer(asked, (), tmp_path), []
    for number in range(30):
        configs.append(first.suggest(str(number)))
        first.on_trial_complete(str(number), {"val_accuracy": value(configs[-1]), "epoch": 3})
    rows = record(configs, asked, ["completed"] * 30)
    again = Proposer(asked, rows, tmp_path)
    assert first.sampling is not None
    assert again.sampling is not None
    before, after = (one.sampling.optuna_study.sampler for one in (first, again))
    again.suggest("30")
    assert after._kept.generation == before._kept.generation
    assert after._kept._cma._mean == pytest.approx(before._kept._cma._mean)
    assert pytest.approx(before._kept._cma._C) == after._kept._cma._C


# Options and storages


def test_an_optuna_study_of_other_objectives_is_no_traceback(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/search.db"
    run(Proposer(study(storage=url, trials=3)), 3)
    assert len(optuna.load_study(study_name="study", storage=url).trials) == 3
    with pytest.raises(StudyError, match="holds a search named 'study' already"):
        ressearch.run(study(storage=url), tmp_path / "run")
    assert not (tmp_path / "run").exists()


BAD = [True, -1, 0.5, 1e9, "many", [1], {"low": 1}, float("nan"), float("inf"), None]
"""Values that are tried for every option; what an option takes is taken out."""


def _options() -> list[Any]:
    from ressearch.search.options import options_of
    from ressearch.search.schedulers import SCHEDULERS

    makers = [("sampler", name, kind.make) for name, kind in SAMPLERS.items()]
    makers += [("scheduler", name, make) for name, make in SCHEDULERS.items()]
    return [
        pytest.param(section, name, option, hint, id=f"{name}.{option}")
        for section, name, make in makers
        for option, hint in options_of(make).items()
    ]


@pytest.mark.parametrize(("section", "name", "option", "hint"), _options())
def test_every_bad_option_is_refused_with_its_line_before_anything_is_made(
    section: str, name: str, option: str, hint: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ressearch.cli import main

    takes_bool, may_be_none = "bool" in str(hint), "None" in str(hint)
    tried = 0
    for value in BAD:
        if (value is None and may_be_none) or (isinstance(value, bool) and takes_bool):
            continue
        if option == "sigma0" and value == 0.5:
            continue
        file = tmp_path / "bad.yaml"
        text = {None: "null", True: "true"}.get(value, value) if isinstance(value, bool | None) else value
        written = {"inf": ".inf", "nan": ".nan"}.get(str(text), json.dumps(value))
        file.write_text(
            f"space: {{search: {json.dumps(NUMBERS)}}}\ndata: {{name: synthetic}}\n"
            f"search:\n  trials: 4\n  {section}:\n    name: {name}\n    {option}: {written}\n"
        )
        for command in (["check", str(file)], ["run", str(file), "--out", str(tmp_path / "out")]):
            with pytest.raises(SystemExit) as caught:
                main(command)
            said = capsys.readouterr().err.strip()
            assert caught.value.code == 2
            assert said.startswith(f"ressearch: error: {file}:7: search.{section}.{option}: "), said
            assert "\n" not in said
        tried += 1
    assert tried >= 6
    assert [one.name for one in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize(
    "options",
    [
        {"name": "tpe", "n_startup_trials": 0, "n_ei_candidates": 1},
        {"name": "tpe", "multivariate": False, "n_ei_candidates": 48},
        {"name": "tpe", "multivariate": True, "group": False},
        {"name": "gp", "n_startup_trials": 0},
        {"name": "cmaes", "n_startup_trials": 0, "sigma0": 1},
        {"name": "cmaes", "n_startup_trials": 5, "sigma0": 0.01},
        {"name": "nsga2", "population_size": 2},
        {"name": "nsga3", "population_size": 2},
        {"name": "qmc", "scramble": False},
    ],
    ids=str,
)
def test_every_option_works_at_its_bounds(options: dict[str, Any]) -> None:
    assert len(set(run(Proposer(study(NUMBERS, sampler=options, trials=14)), 14))) == 14


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"sampler": {"name": "tpe", "group": True, "multivariate": False}}, "needs multivariate: true"),
        ({"sampler": {"name": "grid", "order": 1}}, "no option of 'grid'; it has none"),
        ({"storage": "foo"}, "'foo' is no Optuna storage URL, such as sqlite:///search.db"),
        ({"storage": ""}, "is no Optuna storage URL"),
        ({"storage": "sqlite:////nope/x.db"}, "no directory /nope"),
        ({"storage": "sqlite://"}, "is kept in memory and lost with the process"),
        ({"storage": "sqlite:///:memory:"}, "is kept in memory and lost with the process"),
        ({"storage": "sqlite:////"}, "/ is a directory"),
        ({"storage": "oracel://host/name"}, "no database 'oracel' is known"),
        ({"storage": "redis://localhost"}, "no database 'redis' is known"),
        ({"storage": "mssql+pyodbc://host/name"}, "needs the package pyodbc, which is not installed"),
        ({"storage": 7}, "7 is not text"),
    ],
)
def test_what_no_storage_or_sampler_takes_is_refused_in_one_line(search: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=r"^study:\d+: search\.(sampler|storage)") as caught:
        study(**search)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("shopping: milk")
    with pytest.raises(StudyError, match=r"notes\.txt is no SQLite database"):
        study(storage=f"sqlite:///{file}")
    file.write_bytes(b"SQLite format 3\0" + b"\1" * 200)
    for act in (ressearch.check, lambda one: ressearch.run(one, tmp_path / "run")):
        with pytest.raises(StudyError, match=r"notes\.txt' cannot be opened: ") as caught:
            act(study(storage=f"sqlite:///{file}"))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
