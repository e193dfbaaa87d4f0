"""`ressearch train`: one network into a directory, to the same numbers whatever interrupts it."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import ressearch
from ressearch import Architecture, Study, load
from ressearch.cli import main
from ressearch.data import from_arrays, load_dataset, split
from ressearch.errors import RessearchError, StudyError
from ressearch.export import load as load_weights
from ressearch.training import Engine, EpochResult, Recipe, checkpoint

NAME = "basic-d1.1-w4.8"
FILES = ["README.md", "metrics.csv", "train.json", "weights.safetensors"]

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def quick(out: Path, *, network: Any = NAME, data: Any = "synthetic", epochs: int = 2, **others: Any) -> Any:
    return ressearch.train(network, out, data, epochs=epochs, **others)


def names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir() if one.name != ".lock")


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open(newline="") as file:
        return [{key: text for key, text in row.items() if key != "seconds"} for row in csv.DictReader(file)]


class Killed(BaseException):
    """Ends training as a kill does."""


def test_it_trains_as_the_engine_does_and_leaves_weights_metrics_and_a_card(tmp_path: Path) -> None:
    found = quick(tmp_path / "out", seed=3)
    data = load_dataset("synthetic")
    splits = split(data, seed=0)
    engine = Engine(Architecture.from_name(NAME), splits, len(data.classes), Recipe(epochs=2, seeds=(3,)))
    expected = [engine.train_epoch()[0] for _ in range(2)]
    assert names(tmp_path / "out") == FILES
    assert [float(row["val_loss"]) for row in rows(tmp_path / "out")] == [one.val_loss for one in expected]
    assert [row["val_accuracy"] for row in found.history] == [one.val_accuracy for one in expected]
    assert found.val_accuracy == expected[-1].val_accuracy
    assert found.test_accuracy is None
    classifier = load_weights(tmp_path / "out" / "weights.safetensors")
    with torch.no_grad():
        logits = classifier(splits.validation.inputs)
    hits = (logits.argmax(1) == splits.validation.labels).float().mean()
    assert float(hits) == pytest.approx(expected[-1].val_accuracy, abs=1e-6)
    loss = torch.nn.functional.cross_entropy(logits, splits.validation.labels)
    assert float(loss) == pytest.approx(expected[-1].val_loss, rel=1e-4)


@pytest.mark.parametrize("all_data", [False, True])
def test_a_kill_after_any_epoch_costs_nothing(tmp_path: Path, all_data: bool) -> None:
    quick(tmp_path / "whole", epochs=3, all_data=all_data)
    seen: list[int] = []

    def dies(result: EpochResult, recipe: Recipe) -> None:
        seen.append(result.epoch)
        raise Killed

    for _ in range(3):
        with pytest.raises(Killed):
            quick(tmp_path / "out", epochs=3, all_data=all_data, told=dies)
    quick(tmp_path / "out", epochs=3, all_data=all_data, told=lambda *told: pytest.fail("all epochs were trained"))
    assert seen == [1, 2, 3]
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    weights = [load_weights(tmp_path / one / "weights.safetensors").state_dict() for one in ("out", "whole")]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert names(tmp_path / "out") == FILES


def test_a_damaged_checkpoint_begins_anew(tmp_path: Path) -> None:
    def dies(*told: Any) -> None:
        raise Killed

    with pytest.raises(Killed):
        quick(tmp_path / "out", told=dies)
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"half")
    assert [row["epoch"] for row in quick(tmp_path / "out").history] == [1, 2]


def test_all_data_trains_on_training_and_validation_examples_alone(tmp_path: Path, monkeypatch: Any) -> None:
    seen: list[Any] = []
    made = Engine.__init__

    def noted(self: Engine, architecture: Any, splits: Any, *others: Any, **named: Any) -> None:
        seen.append(splits)
        made(self, architecture, splits, *others, **named)

    monkeypatch.setattr(Engine, "__init__", noted)
    found = quick(tmp_path / "out", all_data=True)
    parts = split(load_dataset("synthetic"), seed=0)
    (given,) = seen
    both = torch.cat((parts.train.places, parts.validation.places)).sort().values  # type: ignore[arg-type]
    assert torch.equal(given.train.places, both)
    assert torch.equal(given.train.labels, load_dataset("synthetic").labels[both])
    assert len(given.validation) == 0
    inputs = given.train.inputs
    assert torch.allclose(given.mean.flatten(), inputs.float().mean((0, 2, 3)), atol=1e-4)
    assert found.val_accuracy is None
    assert {row["val_accuracy"] for row in rows(tmp_path / "out")} == {""}
    assert "no validation score exists" in (tmp_path / "out" / "README.md").read_text()


def test_the_test_part_is_scored_if_asked_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quick(tmp_path / "out").test_accuracy is None
    first = quick(tmp_path / "out", test=True).test_accuracy
    part = split(load_dataset("synthetic"), seed=0).test
    with torch.no_grad():
        predicted = load_weights(tmp_path / "out" / "weights.safetensors")(part.inputs).argmax(1)
    assert first == pytest.approx(float((predicted == part.labels).float().mean()), abs=1e-6)
    monkeypatch.setattr("ressearch.export.single.accuracy", lambda *given: pytest.fail("scored again"))
    assert quick(tmp_path / "out", test=True).test_accuracy == first
    assert json.loads((tmp_path / "out" / "train.json").read_text())["test_accuracy"] == first
    assert f"| test | {first:.4f} |" in (tmp_path / "out" / "README.md").read_text()


def test_another_training_or_other_files_are_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    quick(out)
    before = {one.name: one.read_bytes() for one in out.iterdir()}
    for changes, said in (
        ({"epochs": 3}, r"recipe\.epochs 2, not 3"),
        ({"seed": 1}, r"recipe\.seeds \[0\], not \[1\]"),
        ({"all_data": True}, r"all_data false, not true"),
        ({"network": "basic-d1.1-w4.16"}, r"architecture\.widths \[4, 8\], not \[4, 16\]"),
        ({"overrides": ("data.validation=0.3",)}, r"data\.validation null, not 0\.3"),
    ):
        with pytest.raises(StudyError, match=rf"holds another training \({said}\); nothing was overwritten"):
            quick(out, **changes)
    assert {one.name: one.read_bytes() for one in out.iterdir()} == before
    assert len(quick(out, epochs=1, force=True).history) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(StudyError, match="holds other files than a training's"):
            quick(tmp_path / "mine", force=force)
    (out / "train.json").write_text("{}")
    with pytest.raises(StudyError, match=r"train\.json: damaged"):
        quick(out)


def test_a_directory_is_one_processs(tmp_path: Path) -> None:
    def again(result: EpochResult, recipe: Recipe) -> None:
        with pytest.raises(StudyError, match="another process trains there"):
            quick(tmp_path / "out")

    quick(tmp_path / "out", epochs=1, told=again)


def test_a_training_that_diverges_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"out: diverged: seed 0: loss is"):
        quick(tmp_path / "out", overrides=("recipe.lr=1e6", "recipe.schedule=constant"))


def test_a_trial_takes_its_studys_data_and_recipe(small_run: Path, tmp_path: Path) -> None:
    found = ressearch.train(f"{small_run}/1", tmp_path / "out")
    row = load(small_run).trials.set_index("trial").loc[1]
    asked = json.loads((tmp_path / "out" / "train.json").read_text())["asked"]
    recipe = json.loads(row["recipe"])
    assert (recipe["gradient_clip"], recipe["epochs"]) == (1.0, 3)
    assert {**asked["recipe"], "seeds": recipe["seeds"], "channels_last": "auto"} == recipe
    assert asked["recipe"]["seeds"] == [2]  # which the study has not used
    assert found.classifier.network.architecture.name == row["name"]
    assert asked["data"]["content"] == load(small_run).run["split_fingerprint"]
    engine = Engine(
        Architecture.from_name(row["name"]), Study.from_directory(small_run).splits(), 10,
        Recipe(epochs=3, gradient_clip=1.0, seeds=(2,), channels_last=bool(row["channels_last"])),
    )  # fmt: skip
    expected = [engine.train_epoch()[0].val_loss for _ in range(3)]
    assert [one["val_loss"] for one in found.history] == expected
    with pytest.raises(StudyError, match=r"--data: .*/1 is trained on its study's data"):
        ressearch.train(f"{small_run}/1", tmp_path / "other", "digits")


def test_what_is_asked_for_wrongly_is_said_before_anything_is_made(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("epochs: 2\noptimizer: adamv\n")
    tuned = tmp_path / "study.yaml"
    tuned.write_text("space: {grid: {depth: 8}}\nrecipe: {lr: {tune: [0.1, 0.2]}}\n")
    for given, said in (
        ({"data": None}, "--data: missing"),
        ({"data": "digist"}, "did you mean 'digits'"),
        ({"network": "resnet57-cifar"}, "did you mean 'resnet56-cifar'"),
        ({"recipe": recipe}, r"recipe\.yaml:2: recipe\.optimizer: .*'adamv'"),
        ({"recipe": tmp_path / "recipes.yaml"}, r"no such file or directory; did you mean '.*recipe\.yaml'"),
        ({"recipe": tuned}, r"study\.yaml:2: recipe\.lr: one network is trained at one rate"),
        ({"overrides": ("recipe.momentun=0.5",)}, "--set recipe.momentun: .*momentum"),
        ({"overrides": ("search.trials=5",)}, "--set search: is no key of a training"),
        ({"data": from_arrays(torch.rand(40, 6), [0, 1] * 20), "overrides": ("recipe.augmentation=[flip]",)}, "images"),
    ):
        network = {"network": "mlp-d1-w8"} if "images" in said else {}
        with pytest.raises(RessearchError, match=said):
            quick(tmp_path / "out", **{"epochs": None, **network, **given})  # type: ignore[arg-type]
        assert not (tmp_path / "out").exists()


def test_recipes_come_from_files_and_data_from_memory(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("space: {grid: {depth: 8}}\ndata: {name: synthetic}\nrecipe: {epochs: 1, ema: 0.5, seeds: 4}\n")
    ressearch.train(NAME, tmp_path / "a", recipe=study)
    asked = json.loads((tmp_path / "a" / "train.json").read_text())["asked"]
    assert (asked["data"]["name"], asked["recipe"]["ema"], asked["recipe"]["seeds"]) == ("synthetic", 0.5, [0])
    arrays = from_arrays(torch.rand(60, 6), [0, 1, 2] * 20, "mine")
    found = ressearch.train("mlp-d1-w8", tmp_path / "b", arrays, recipe=Recipe(epochs=1, batch_size=8))
    assert found.classifier.input_shape == (6,)
    assert "`mine`" in (tmp_path / "b" / "README.md").read_text()


def test_the_command_says_what_came_out_and_its_card_loads(tmp_path: Path, capsys: Told) -> None:
    arguments = ["train", NAME, "--data", "synthetic", "--epochs", "2", "--out", str(tmp_path / "out"), "--test"]
    main(arguments)
    out = capsys.readouterr().out.splitlines()
    assert re.match(r"\[1/2\] train_loss \d\.\d{4}, val_accuracy 0\.\d{4}, ", out[0])
    assert [line.split(" ")[0] for line in out[2:]] == [f"{NAME},", "test_accuracy", "written"]
    main(arguments)
    assert capsys.readouterr().out.splitlines() == out[2:]
    (snippet,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", snippet + "print(tuple(logits.shape))"],
        cwd=tmp_path / "out", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "(1, 3)"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_ends_it_and_the_same_command_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "ressearch.cli", "train", "basic-d2.2-w8.16", "--data", "digits"),
        *("--epochs", "60", "--out", str(out)),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert process.stdout is not None
    for _ in range(2):
        assert process.stdout.readline().startswith("[")
    process.send_signal(signal.SIGTERM)
    told, problem = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "what was trained is kept: the same command goes on" in told
    assert "ended by SIGTERM" in problem
    state = checkpoint.load(str(out / "checkpoint.pt"), torch.device("cpu"))
    assert state is not None
    trained = len(state["history"])
    assert 2 <= trained < 60
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    assert process.stdout.readline().startswith(f"[{trained + 1}/60]")
    process.kill()
    process.communicate(timeout=60)


def weights_of(directory: Path, by: float = 0.01) -> Path:
    """Write weights of the network, each of them a little above what it begins with."""
    network = ressearch.build(Architecture.from_name(NAME), 1, 3)
    state = {key: value + by if value.is_floating_point() else value for key, value in network.state_dict().items()}
    safetensors.torch.save_file(state, directory / "own.safetensors")
    return directory / "own.safetensors"


def test_it_starts_from_the_weights_of_a_recipe_beside_its_file(tmp_path: Path) -> None:
    file = weights_of(tmp_path)
    (tmp_path / "recipe.yaml").write_text(f"init: {file.name}\n")
    found = quick(tmp_path / "out", recipe=tmp_path / "recipe.yaml", epochs=1)
    dataset = load_dataset("synthetic")
    recipe = Recipe(init=str(file), epochs=1, seeds=(0,))
    plain = quick(tmp_path / "plain", epochs=1)
    assert found.history[0]["train_loss"] != plain.history[0]["train_loss"]
    asked = json.loads((tmp_path / "out" / "train.json").read_text())["asked"]
    assert asked["init"] == hashlib.sha256(file.read_bytes()).hexdigest()
    parts = split(dataset, 0, asked["data"]["validation"], asked["data"]["test"])
    engine = Engine(Architecture.from_name(NAME), parts, 3, recipe)
    assert engine.train_epoch()[0].train_loss == found.history[0]["train_loss"]
    safetensors.torch.save_file({**safetensors.torch.load_file(file), "more": torch.zeros(1)}, file)
    with pytest.raises(RessearchError):
        quick(tmp_path / "out", recipe=tmp_path / "recipe.yaml", epochs=1)
    weights_of(tmp_path, by=0.02)
    with pytest.raises(StudyError, match=r"holds another training \(init "):
        quick(tmp_path / "out", recipe=tmp_path / "recipe.yaml", epochs=1)


def test_weights_that_do_not_fit_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    file = weights_of(tmp_path)
    with pytest.raises(StudyError, match=r"recipe\.init: "):
        quick(tmp_path / "out", network="basic-d1.1-w8.16", recipe=Recipe(init=str(file)), epochs=1)
    assert not (tmp_path / "out").exists()


def test_threads_are_those_asked_for_while_it_trains_alone(tmp_path: Path) -> None:
    used: list[int] = []
    before = torch.get_num_threads()
    quick(tmp_path / "out", threads=before + 1, epochs=1, told=lambda *given: used.append(torch.get_num_threads()))
    quick(tmp_path / "as", epochs=1, told=lambda *given: used.append(torch.get_num_threads()))
    assert used == [before + 1, before]
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError):
        quick(tmp_path / "bad", threads=before + 1, told=lambda *given: 1 / 0)
    assert torch.get_num_threads() == before
