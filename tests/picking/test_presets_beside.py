"""Published networks that were trained under a study's recipe, beside the picks for what they cost."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picking.test_limits import seeded, study

import ressearch.picking.frontier
from ressearch import Architecture, Study, cost
from ressearch.cli import main
from ressearch.data import load_dataset
from ressearch.errors import ArchitectureError
from ressearch.picking import presets as presets_module
from ressearch.picking.fresh import Reached, append_line, read_lines
from ressearch.picking.frontier import PresetStanding, every_budget
from ressearch.picking.presets import FILE, PresetTrained, read_presets, train_presets
from ressearch.results.store import Results
from ressearch.training import Diverged, Engine, Recipe

NAME = "resnet20-cifar"
PRESET = Architecture.preset(NAME)


def reached(*scores: float, preset: str = NAME, problem: str | None = None) -> PresetTrained:
    seeds = tuple(range(9, 9 + len(scores)))
    return PresetTrained(preset, Architecture.preset(preset).name, 3, seeds, scores, 7.0, 1.0, problem)


def standings(monkeypatch: pytest.MonkeyPatch, rows: list[Any], *others: PresetTrained, **more: Any) -> Any:
    results = study(rows, **more)
    monkeypatch.setattr(ressearch.picking.frontier, "load", lambda directory: results)
    monkeypatch.setattr(ressearch.picking.frontier, "read_presets", lambda results: list(others))
    return every_budget("a"), results


def dear(results: Results) -> int:
    return int(cost(PRESET, tuple(results.run["input_shape"]), results.run["num_classes"]).macs)


ROWS = [
    seeded(0, [0.80, 0.82, 0.81], 100),
    seeded(1, [0.90, 0.92, 0.91], 300),
    seeded(2, [0.85, 0.87, 0.86], 200),
]


def test_it_is_compared_with_the_pick_for_its_own_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    found, results = standings(monkeypatch, ROWS, reached(0.70, 0.72, 0.71))
    (one,) = found.presets
    assert (one.preset, one.name, one.trial, one.seeds, one.pick) == (NAME, PRESET.name, None, 3, "basic-d1-w3")
    assert one.cost == dear(results)
    assert one.val_accuracy == pytest.approx(0.71)
    assert one.difference == pytest.approx(0.2, abs=0.01)
    assert 0.15 < one.low < one.difference < one.high < 0.25
    assert one.is_tied is False
    assert one.verdict.startswith("basic-d1-w3 is better (+0.")
    assert [pick.candidates for pick in found.picks] == [1, 2, 3]  # it is no candidate


@pytest.mark.parametrize(
    ("scores", "is_tied", "words"),
    [((0.90, 0.93, 0.915), True, "cannot be told from basic-d1-w3 ("), ((0.98, 0.99, 0.985), False, "is worse (-0.")],
)
def test_it_may_be_as_good_or_better(
    scores: tuple[float, ...], is_tied: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = standings(monkeypatch, ROWS, reached(*scores))
    (one,) = found.presets
    assert one.is_tied is is_tied
    assert words in one.verdict
    assert (one.low < 0 < one.high) is is_tied


def test_one_cheaper_than_every_network_has_no_pick(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**row, "macs": row["macs"] * 10**9} for row in ROWS]
    (one,) = standings(monkeypatch, rows, reached(0.7, 0.7, 0.7))[0].presets
    assert (one.pick, one.difference, one.verdict) == (None, None, "no other network is as cheap")


def test_one_seed_each_compares_means_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [seeded(0, [0.8], 100), seeded(1, [0.9], 300), seeded(2, [0.7], 200)]
    (one,) = standings(monkeypatch, rows, reached(0.75))[0].presets
    assert one.difference == pytest.approx(0.15)
    assert (one.low, one.is_tied) == (None, None)
    assert one.verdict == "basic-d1-w3 is 0.1500 above it (what is chance is not known)"


def test_another_objective_is_not_compared_with_accuracies(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [seeded(trial, [0.5, 0.5], 1 + trial, val_loss=loss) for trial, loss in enumerate((0.9, 0.2, 0.5))]
    found, _ = standings(monkeypatch, rows, reached(0.7, 0.7), study={"search": {"objective": ["val_loss"]}})
    (one,) = found.presets
    assert (one.pick, one.difference) == ("basic-d1-w3", None)
    assert one.verdict == "the pick is basic-d1-w3, which was ranked by another objective than accuracy"


def test_one_that_the_study_trained_is_told_once_and_one_that_diverged_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [*ROWS, seeded(3, [0.95, 0.96, 0.955], 400, name=PRESET.name)]
    broken = reached(preset="resnet32-cifar", problem="diverged: loss is NaN")
    found, _ = standings(monkeypatch, rows, reached(0.1, 0.1, 0.1), broken)
    own, other = found.presets
    assert (own.trial, own.verdict) == (3, "the pick for what it costs")
    assert own.difference == 0
    assert (other.preset, other.val_accuracy, other.verdict) == ("resnet32-cifar", None, "diverged: loss is NaN")


def test_every_verdict_names_which_is_better() -> None:
    known = PresetStanding("p", "n", 1, 2, 5.0, 0.5, "k", -0.01, -0.02, -0.005, False)
    assert known.verdict == "k is worse (-0.0100 [-0.0200, -0.0050])"
    assert PresetStanding("p", "n", 1, 1, 5.0, 0.5, "k", -0.25).verdict.startswith("k is 0.2500 below it")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study's directory, with a record that was made by hand: what is trained beside it is trained by the study."""
    told = {
        "name": "beside",
        "space": {"search": {"blocks_per_stage": [1], "width": {"low": 2, "high": 16}, "stages": 1}},
        "data": {"name": "synthetic", "per_class": 8},
        "recipe": {"epochs": 1, "seeds": 2},
        "search": {"trials": 3},
    }
    results = study([{**row, "seeds": [3, 4, 7]} for row in ROWS])
    object.__setattr__(results, "directory", tmp_path)
    made = Study.from_dict(told)
    monkeypatch.setattr("ressearch.search.study.Study.from_directory", lambda *arguments: made)
    monkeypatch.setattr("ressearch.search.changes.require_same_data", lambda *arguments: None)
    monkeypatch.setattr("ressearch.picking.fresh.recipe_for", lambda results: made.recipe)
    for place in (presets_module, ressearch.picking.frontier):
        monkeypatch.setattr(place, "load", lambda directory: results)
    return tmp_path


SMALL = ("resnet20-cifar", "resnet20-a-cifar")


def test_presets_are_trained_on_fresh_seeds_and_kept(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[PresetTrained] = []
    found = train_presets(directory, SMALL, told=said.append)
    assert said == found
    assert [one.preset for one in found] == list(SMALL)
    assert all(one.seeds == (8, 9) for one in found)
    dataset = load_dataset("synthetic")
    assert all(len(one.seed_val_accuracies) == 2 and one.problem is None for one in found)
    made = Study.from_directory(directory)
    alone = Engine(PRESET, made.splits(), len(dataset.classes), Recipe(epochs=1, seeds=(8, 9)))
    assert [one.val_accuracy for one in alone.train_epoch()] == pytest.approx(found[0].seed_val_accuracies)
    monkeypatch.setattr("ressearch.picking.fresh.Trainer.train", lambda *arguments: pytest.fail("trained again"))
    assert train_presets(directory, SMALL) == found
    assert len((directory / FILE).read_bytes().splitlines()) == 2


def test_a_damaged_line_is_left_out_and_the_next_stands_by_itself(tmp_path: Path) -> None:
    file, results = tmp_path / FILE, study(ROWS)
    object.__setattr__(results, "directory", tmp_path)
    assert read_presets(results) == []
    append_line(file, asdict(reached(0.5, 0.6)))
    with file.open("ab") as raw:
        raw.write(b'[1]\n{"preset": "x"}\n\xff\n{"preset": "cut o')
    append_line(file, asdict(reached(0.7, preset="resnet32-cifar")))
    assert read_presets(results) == [reached(0.5, 0.6), reached(0.7, preset="resnet32-cifar")]
    append_line(file, asdict(reached(0.9)))
    assert [one.seed_val_accuracies for one in read_presets(results)] == [(0.9,), (0.7,)]  # the last of each counts
    assert len(read_lines(file)) == 4


def test_divergence_is_a_result(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(trainer: Any, architecture: Architecture) -> Reached:
        raise Diverged("loss is NaN in epoch 1")

    monkeypatch.setattr("ressearch.picking.fresh.Trainer.train", train)
    (one,) = train_presets(directory, [NAME])
    assert one.problem == "diverged: loss is NaN in epoch 1"
    assert np.isnan(one.val_accuracy)
    assert str(one) == "resnet20-cifar: diverged: loss is NaN in epoch 1"
    assert read_lines(directory / FILE)[0]["problem"] == one.problem


def test_the_command_trains_them_and_says_where_they_stand(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Reached((8, 9), (0.5, 0.52), 2.0, 1.0)
    monkeypatch.setattr("ressearch.picking.fresh.Trainer.train", lambda *arguments: made)
    main(["pick", "a", "--every", "macs", "--presets", f"{NAME}, {NAME}"])
    said = capsys.readouterr().out
    assert said.startswith("trained resnet20-cifar: 0.5100 on 2 fresh seeds\n")
    assert said.splitlines()[-1].startswith("resnet20-cifar (")
    assert "0.5100): basic-d1-w3 is better (+0." in " ".join(said.split())
    main(["pick", "a", "--every", "train_time", "--presets", NAME, "--json"])
    (told,) = json.loads(capsys.readouterr().out)["presets"]
    assert (told["preset"], told["cost"]) == (NAME, 1.0)  # seconds of one of its two seeds


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["a", "--presets", NAME], "--presets are trained to stand beside the picks of every budget: it takes --every"),
        (["a", "b", "--every", "macs", "--presets", NAME], "--presets takes one study: its recipe"),
        (["a", "--every", "macs", "--presets", "resnet21-cifar"], "resnet21-cifar"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    arguments: list[str], problem: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["pick", *arguments])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert problem in said
    assert said.count("\n") == 1
    assert not (directory / FILE).exists()


def test_networks_that_do_not_take_the_data_are_refused_before_any_training(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = presets_module.load(directory)
    results.run["input_shape"] = [30]
    monkeypatch.setattr("ressearch.picking.fresh.Trainer.train", lambda *arguments: pytest.fail("trained"))
    with pytest.raises(ArchitectureError, match=r"^resnet20-cifar: input shape"):
        train_presets(directory, [NAME])


def test_networks_that_the_study_trained_need_no_training(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = presets_module.load(directory)
    results.trials.loc[0, "name"] = PRESET.name
    monkeypatch.setattr("ressearch.picking.fresh.Trainer.train", lambda *arguments: pytest.fail("trained"))
    assert train_presets(directory, [NAME]) == []
