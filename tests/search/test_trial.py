from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from ressearch import Architecture, Study, build, cost, load
from ressearch.search import trial
from ressearch.search.proposer import Proposer
from ressearch.search.resources import pack
from ressearch.search.trial import TrialSpec, TrialTrainable, from_arrays, to_arrays
from ressearch.training import Engine, Recipe, replicates
from ressearch.training.choose import Choice, choose
from ressearch.training.graph import why_not_captured
from ressearch.training.transfer import mup

CPU = torch.device("cpu")
TINY = Architecture(depths=(1, 1), widths=(4, 8))


def study(**changes: Any) -> Study:
    return Study.from_dict(
        {"space": {"grid": {"depth": [8, 14], "width": 4}}, "data": {"name": "synthetic"}, **changes}
    )


def trainable(recipe: Recipe, architecture: Architecture = TINY) -> TrialTrainable:
    """A trial as an actor holds it, without Ray."""
    one = TrialTrainable.__new__(TrialTrainable)
    config = {"trial": 0, "architecture": architecture.to_dict(), "lr": None}
    one.setup(config, TrialSpec(recipe, threads=torch.get_num_threads(), classes=3), to_arrays(study().splits()))
    return one


def test_what_a_trial_gets_of_the_data_holds_no_test_part() -> None:
    splits = study().splits()
    given = from_arrays(to_arrays(splits), CPU)
    assert len(given.test) == 0
    assert torch.equal(given.train.inputs, splits.train.inputs)
    assert torch.equal(given.validation.labels, splits.validation.labels)
    held = sum(array.nbytes for array in to_arrays(splits).values())
    assert held < splits.train.inputs.nbytes * 1.6


def test_a_trial_that_runs_out_of_memory_is_tried_once_more_packed_less(monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = Engine.train_epoch

    def out_of_memory(self: Engine) -> Any:
        if self.choice.is_grouped:
            raise torch.OutOfMemoryError("tried to allocate 3 GiB")
        return grouped(self)

    monkeypatch.setattr(Engine, "train_epoch", out_of_memory)
    result = trainable(Recipe(epochs=1, seeds=2, replicates="grouped")).step()
    assert result["outcome"] == "completed"
    assert "2 seeds one after another" in result["engine"]
    assert "tried again after running out of memory" in result["engine"]
    monkeypatch.setattr(Engine, "train_epoch", lambda self: (_ for _ in ()).throw(MemoryError("no more")))
    result = trainable(Recipe(epochs=1, seeds=2)).step()
    assert (result["outcome"], result["reason"], result["done"]) == ("failed", "out of memory: no more", True)


def test_a_finalist_tells_what_it_has_right_of_both_parts_others_of_validation_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = study().splits()

    def told(is_final: bool) -> dict[str, Any]:
        one = TrialTrainable.__new__(TrialTrainable)
        spec = TrialSpec(Recipe(epochs=1, seeds=2), torch.get_num_threads(), 3, is_final=is_final)
        config = {"trial": 0, "architecture": TINY.to_dict(), "lr": None}
        one.setup(config, spec, to_arrays(splits, with_test=is_final))
        return one.step()

    searched, final = told(False), told(True)
    assert (searched["correct"].epoch, set(searched["correct"].parts)) == (1, {"validation"})
    validation, test = (final["correct"].parts[name] for name in ("validation", "test"))
    assert (validation.examples, test.examples) == (len(splits.validation), len(splits.test))
    assert test.agrees([one["accuracy"] for one in final["test"]])
    assert validation.agrees([one["val_accuracy"] for one in final["results"][0]])
    monkeypatch.setattr(trial, "KEPT_EXAMPLES", len(splits.test) - 1)
    assert set(told(True)["correct"].parts) == {"validation"}
    monkeypatch.setattr(replicates, "KEPT_EXAMPLES", len(splits.validation) - 1)
    assert told(True)["correct"] is None


def test_the_actor_lives_on_after_a_trial_diverged_or_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainable(Recipe(epochs=2, lr={"tune": [1e6, 0.1]}))
    one.reset_config({**one._config, "lr": 1e6})
    result = one.step()
    assert result["outcome"] == "diverged"
    assert "seed 0: loss is" in result["reason"]
    one.reset_config({**one._config, "architecture": {"block": "nonsense"}, "lr": 0.1})
    assert one.step()["outcome"] == "failed"
    one.reset_config({**one._config, "architecture": TINY.to_dict()})
    assert one.step()["epoch"] == 1
    assert one.step()["outcome"] == "completed"


def test_gpus_are_packed_by_the_memory_of_the_dearest_trial() -> None:
    small = study(recipe={"seeds": 1})
    assert pack(small, 80 * 2**30) == 1 / 16
    assert pack(small, 2**29) == 1
    wide = study(
        space={"grid": {"depth": [110], "width": [4, 64]}}, recipe={"seeds": 8, "batch_size": 256, "optimizer": "adamw"}
    )
    (dearest,) = [one for one in wide.search_space.enumerate() if one.widths[0] == 64]
    least = cost(dearest, (1, 8, 8), 3).training_memory(256, optimizer_states=2)
    assert pack(wide, 80 * 2**30) == 1 / (80 * 2**30 // (2 * 8 * least + 700 * 2**20)) < 1
    assert pack(wide, 2**30) == 1


def test_every_architecture_of_a_grid_is_trained_with_each_tuned_rate() -> None:
    tuned = study(recipe={"lr": {"tune": [0.03, 0.1, 0.3]}})
    assert tuned.planned_trials == 6
    proposer = Proposer(tuned)
    points = [proposer.suggest(str(number)) for number in range(6)]
    assert [point["lr"] for point in points] == [0.03, 0.1, 0.3] * 2
    assert len({Architecture.from_dict(point["architecture"]).depth for point in points}) == 2
    assert proposer.suggest("6") == Proposer.FINISHED


def test_a_sampler_proposes_rates_too_and_no_pair_twice() -> None:
    tuned = study(
        space={"search": {"depth": [8, 14], "width": 4}}, search={"trials": 9}, recipe={"lr": {"tune": [0.05, 0.2]}}
    )
    proposer = Proposer(tuned)
    points = [proposer.suggest(str(number)) for number in range(tuned.planned_trials)]
    pairs = {(Architecture.from_dict(point["architecture"]).depth, point["lr"]) for point in points}
    assert pairs == {(8, 0.05), (8, 0.2), (14, 0.05), (14, 0.2)}


def test_results_say_how_a_trial_ran_and_at_which_rate(small_run: Any) -> None:
    trials, _ = load(small_run)
    assert trials["engine"].str.contains("2 seeds").all()
    assert (trials["lr"] == 0.1).all()


def test_mup_scales_each_kind_of_parameter_as_its_table_says() -> None:
    wide = Architecture(depths=(1, 1), widths=(16, 32), norm="none", skip="rezero")
    sgd = mup(wide, 4, "sgd", 1, 10)
    adam = mup(wide, 4, "adamw", 1, 10)
    names = dict(build(wide, 1, 10).named_parameters())
    first = next(name for name in names if name.startswith("stem") and name.endswith("weight"))
    hidden = next(name for name, value in names.items() if "branch" in name and value.shape[:2] == (16, 16))
    last = next(name for name, value in names.items() if value.shape == (10, 32))
    last_bias = next(name for name, value in names.items() if value.shape == (10,))
    assert [sgd.lr[name] for name in (first, hidden, last, last_bias)] == [4, 1, 1 / 4, 1]
    assert [adam.lr[name] for name in (first, hidden, last, last_bias)] == [1, 1 / 4, 1 / 4, 1]
    assert sgd.classifier == 0.5
    assert set(mup(wide, 16, "sgd", 1, 10).lr.values()) == {1.0}


def test_how_seeds_run_follows_the_recipe_and_what_is_possible() -> None:
    def chosen(**changes: Any) -> Choice:
        return choose(TINY, (1, 8, 8), 3, Recipe(**changes), CPU, 1000)

    assert chosen(seeds=1, channels_last=True) == Choice(is_grouped=False, channels_last=True)
    assert chosen(seeds=3, replicates="grouped", channels_last=False) == Choice(is_grouped=True, channels_last=False)
    assert chosen(seeds=3, replicates="separate", channels_last=True) == Choice(is_grouped=False, channels_last=True)
    assert not chosen(seeds=3, precision="float16", replicates="grouped", channels_last=True).is_grouped
    assert chosen(seeds=3) in [Choice(g, c) for g in (True, False) for c in (True, False)]


def test_why_a_step_is_not_captured_is_said() -> None:
    network = build(TINY, 1, 3)
    assert why_not_captured(CPU, Recipe(), network) == "no CUDA graphs on a cpu"
    gpu = torch.device("cuda")
    assert why_not_captured(gpu, Recipe(), network) is None
    assert why_not_captured(gpu, Recipe(cuda_graph="off"), network) == "cuda_graph: off"
    assert "moving average" in str(why_not_captured(gpu, Recipe(ema=0.9), network))
    assert "gradient scaler" in str(why_not_captured(gpu, Recipe(precision="float16"), network))
    random = build(TINY.replace(skip="stochastic_depth"), 1, 3)
    assert why_not_captured(gpu, Recipe(), random) == "the network draws random numbers"


def test_a_trial_tells_its_networks_latency_where_the_study_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from ressearch.networks.latency import Latency
    from ressearch.search import trial

    asked: list[Any] = []

    def measure(architecture: Architecture, *given: Any, **how: Any) -> Latency:
        asked.append((architecture, given, how))
        return Latency(0.0025, 0.002, 0.003, 5, 1, "cpu", 1, False)

    monkeypatch.setattr(trial, "measure_latency", measure)
    recipe = Recipe(epochs=2)
    one = trainable(recipe)
    assert "latency" not in one.step()
    one._spec = dataclasses.replace(one._spec, measures_latency=True)
    one.reset_config(one._config)
    assert [one.step()["latency"], one.step()["latency"]] == [0.0025, 0.0025]
    how = {"device": CPU, "threads": torch.get_num_threads(), "remember": True}
    assert asked == [(TINY, ((1, 8, 8), 3), how)]
    one._spec = dataclasses.replace(one._spec, measures_latency=False)
    one.reset_config(one._config)
    assert "latency" not in one.step()
