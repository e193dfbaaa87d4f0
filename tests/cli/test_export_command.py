"""`ressearch export`: which trial, which weights, which format and precision; what it refuses before any work."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open

from ressearch import Study, export, load, run
from ressearch.cli import main
from ressearch.data import load_dataset, split
from ressearch.export import find_trial
from ressearch.export.card import card_file
from ressearch.training.classifier import from_file, to_bytes

Told = pytest.CaptureFixture[str]


def exported(capsys: Told, *arguments: object) -> str:
    main(["export", *map(str, arguments)])
    return capsys.readouterr().out


def refused(capsys: Told, *arguments: object) -> str:
    with pytest.raises(SystemExit) as done:
        main(["export", *map(str, arguments)])
    assert done.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def never(*arguments: object, **options: object) -> Any:
    pytest.fail("it trained")


def kept_trial(directory: Path) -> int:
    (file,) = (directory / "weights").iterdir()
    return int(file.stem)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ressearch.training.Engine.train_epoch", never)


def test_weights_that_were_kept_are_written_without_training(
    small_run: Path, tmp_path: Path, capsys: Told, no_training: None
) -> None:
    trial = kept_trial(small_run)
    row = load(small_run).trials.set_index("trial").loc[trial]
    out = exported(capsys, small_run, "--out", tmp_path / "net.safetensors")
    best = max(row["seed_val_accuracies"])
    assert f"trial {trial}, {row['name']}: weights as trained (seed " in out
    assert f", the best of 2 by val_accuracy): val_accuracy {best:.4f}" in out
    digits = load_dataset("digits")
    part = split(digits, seed=0).validation
    with torch.no_grad():  # the accuracy on record, of the file that was written
        predicted = export.load(tmp_path / "net.safetensors")(part.inputs).argmax(1)
    assert float((predicted == part.labels).float().mean()) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("spoil", ["none", "foreign", "other", "half", "retrain"])
def test_without_kept_weights_it_says_why_it_trains(small_run: Path, tmp_path: Path, capsys: Told, spoil: str) -> None:
    trial = kept_trial(small_run)
    file = small_run / "weights" / f"{trial:05d}.safetensors"
    other = next(one for one in range(4) if one != trial)
    if spoil == "half":
        file.write_bytes(file.read_bytes()[:-100])
    elif spoil == "foreign":
        shutil.copy(file, file.with_name(f"{other:05d}.safetensors"))
    elif spoil == "other":  # as if the trial had been trained anew, to another accuracy
        classifier, facts = from_file(file)
        file.write_bytes(to_bytes(classifier, {**facts, "val_accuracy": facts["val_accuracy"] - 0.01}))
    options = ["--retrain"] if spoil == "retrain" else []
    asked = other if spoil in ("none", "foreign") else trial
    out = exported(capsys, small_run, "--trial", asked, "--out", tmp_path / "net.pt", *options)
    why = {
        "none": "the study kept no weights of it",
        "foreign": "is not of what is on record",
        "other": "is not of what is on record",
        "half": "is damaged: ",
        "retrain": "--retrain",
    }
    assert re.search(rf"trial {asked}, .*: trained once more on seed 2 \(.*{why[spoil]}", out)


def test_a_trial_is_named_by_its_number_or_its_network(small_run: Path, tmp_path: Path, capsys: Told) -> None:
    trials = load(small_run).trials.set_index("trial")
    assert find_trial(small_run) == (str(small_run), None)
    assert find_trial(f"{small_run}/") == (str(small_run), None)
    for number, name in trials["name"].items():
        assert find_trial(f"{small_run}/{number}") == (str(small_run), number)
        assert find_trial(f"{small_run}/{name}") == (str(small_run), number)
    plain = trials[trials["skip"] == "none"]
    assert find_trial(f"{small_run}/{plain.iloc[0]['name'][:-1]}") == (str(small_run), plain.index[0])
    out = tmp_path / "net.pt"
    assert "has no trial 9; its trials are 0 to 3" in refused(capsys, f"{small_run}/9", "--out", out)
    assert "'basic' is the beginning of several networks: " in refused(capsys, f"{small_run}/basic", "--out", out)
    near = refused(capsys, f"{small_run}/{trials['name'][0].replace('w4', 'v4')}", "--out", out)
    assert f"is no network here; did you mean '{trials['name'][0]}'?" in near
    assert "no such directory" in refused(capsys, tmp_path / "nowhere", "--out", out)
    assert "names trial 1; leave one of the two out" in refused(capsys, f"{small_run}/1", "--trial", 2, "--out", out)
    picked = refused(capsys, f"{small_run}/1", "--max-params", "1M", "--out", out)
    assert "--max-params: is for a network to be picked, and trial 1 is named" in picked
    assert not out.exists()


def test_formats_and_precisions_are_checked_before_anything_is_read(tmp_path: Path, capsys: Told) -> None:
    def said(*options: object) -> str:
        return refused(capsys, tmp_path / "no-study", *options)

    assert "--to onx: is unknown; did you mean 'onnx'?" in said("--out", tmp_path / "net", "--to", "onx")
    assert "--to code writes a .py file" in said("--out", tmp_path / "net.onnx", "--to", "code")
    assert "--dtype float61: is unknown; did you mean 'float16'?" in said(
        "--out", tmp_path / "a.pt", "--dtype", "float61"
    )
    assert "--dtype bfloat16: onnxruntime runs no" in said("--out", tmp_path / "a.onnx", "--dtype", "bfloat16")
    card_file(tmp_path / "net.pt").write_text("mine")
    assert "net.pt.md: is there already; --force" in said("--out", tmp_path / "net.pt")
    (tmp_path / "net.safetensors").write_text("mine")
    assert "net.safetensors: is there already; --force" in said("--out", tmp_path / "net", "--to", "code")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["net.pt.md", "net.safetensors"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("to", ["safetensors", "code", "pt2", "onnx", "weights"])
def test_half_weights_are_measured_on_the_validation_part(
    small_run: Path, tmp_path: Path, capsys: Told, to: str, dtype: str, no_training: None
) -> None:
    if (to, dtype) == ("onnx", "bfloat16"):
        return
    out = exported(capsys, small_run, "--to", to, "--out", tmp_path / "net", "--dtype", dtype)
    found = re.search(rf"val_accuracy (0\.\d{{4}}) in float32, (0\.\d{{4}}) in {dtype}\n", out)
    assert found is not None
    row = load(small_run).trials.set_index("trial").loc[kept_trial(small_run)]
    assert float(found[1]) == pytest.approx(max(row["seed_val_accuracies"]), abs=1e-4)
    assert float(found[2]) == pytest.approx(float(found[1]), abs=0.02)
    assert found[0].strip() in (tmp_path / f"net{export.NAMES[to]}.md").read_text().replace("Val_", "val_")
    if to in ("safetensors", "code"):
        with safe_open(tmp_path / "net.safetensors", "pt") as file:
            types = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
        assert types["mean"] == torch.float32
        weights = {one for name, one in types.items() if name.startswith("network.") and one != torch.int64}
        assert weights == {getattr(torch, dtype)}


@pytest.fixture(scope="module")
def final_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = {
        "space": {"grid": {"depth": 8, "width": [4, 8]}},
        "data": {"name": "synthetic"},
        "recipe": {"epochs": 1},
        "search": {"finalists": {"count": 2, "seeds": 3}},
        "keep_weights": "all",
    }
    return Path(run(Study.from_dict(asked), tmp_path_factory.mktemp("final") / "out"))


def test_a_pick_takes_its_finalists_weights_and_a_named_trial_its_own(
    final_run: Path, tmp_path: Path, capsys: Told, no_training: None
) -> None:
    trials = load(final_run).trials
    assert len(list((final_run / "weights").iterdir())) == len(trials) == 4
    out = exported(capsys, final_run, "--out", tmp_path / "a.pt")
    number = int(re.match(r"trial (\d)", out)[1])  # type: ignore[index]
    finalist = trials[trials["of_trial"] == number].iloc[0]
    assert f"of trial {finalist['trial']}, the finalist that repeats it (seed " in out
    card = yaml.safe_load((tmp_path / "a.pt.md").read_text().split("---\n")[1])
    scores = {
        (one["dataset"]["split"], one["metrics"][0]["name"]): one["metrics"][0]["value"]
        for one in card["model-index"][0]["results"]
    }
    of_test = [value for (part, _), value in scores.items() if part == "test"]
    assert of_test == [pytest.approx(finalist["test_accuracy"], abs=1e-5)]
    assert "weights as trained (seed 0): " in exported(capsys, f"{final_run}/{number}", "--out", tmp_path / "b.pt")
    (final_run / "weights" / f"{number:05d}.safetensors").rename(tmp_path / "away")
    try:
        out = exported(capsys, f"{final_run}/{number}", "--out", tmp_path / "c.pt")
        assert "the finalist that repeats it" in out
    finally:
        (tmp_path / "away").rename(final_run / "weights" / f"{number:05d}.safetensors")


@pytest.mark.parametrize("to", list(export.NAMES))
def test_what_a_card_says_of_loading_runs(
    small_run: Path, tmp_path: Path, capsys: Told, to: str, no_training: None
) -> None:
    exported(capsys, small_run, "--to", to, "--out", tmp_path / "my net")
    card = (tmp_path / f"my net{export.NAMES[to]}.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(snippets) == (2 if to == "code" else 1)
    for snippet in snippets:
        is_alone = "ressearch" not in snippet  # then importing ressearch would raise
        program = ("import sys; sys.modules['ressearch'] = None\n" if is_alone else "") + snippet
        done = subprocess.run(
            [sys.executable, "-c", program + "print(tuple(logits.shape))"],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines()[-1] == "(1, 10)"


def test_a_card_says_what_is_on_record(small_run: Path, tmp_path: Path, capsys: Told, no_training: None) -> None:
    exported(capsys, small_run, "--out", tmp_path / "net.pt2")
    text = (tmp_path / "net.pt2.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    row = load(small_run).trials.set_index("trial").loc[kept_trial(small_run)]
    assert (head["library_name"], head["license"], head["metrics"]) == ("ressearch", "unknown", ["accuracy"])
    assert {"residual-network", "basic", f"depth-{row['depth']}"} <= set(head["tags"])
    own, mean = (one["metrics"][0]["value"] for one in head["model-index"][0]["results"])
    assert (own, mean) == (
        pytest.approx(max(row["seed_val_accuracies"]), abs=1e-6),
        pytest.approx(row["val_accuracy"], abs=1e-6),
    )
    first, second = row["seed_val_accuracies"]
    reach = 12.7062047364 * abs(first - second) / 2  # Student's t of one degree of freedom; half the range is the error
    low, high = max(0.0, row["val_accuracy"] - reach), min(1.0, row["val_accuracy"] + reach)
    assert f"| {low:.4f} to {high:.4f} |" in text
    assert f"| parameters | {row['params']:,} |" in text
    assert f"| multiply-accumulates | {row['macs']:,} (FLOPs" in text
    assert json.loads(re.search(r"```json\n(.*)\n```", text)[1])["widths"] == list(row["widths"])  # type: ignore[index]
    recipe = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])  # type: ignore[index]
    assert (recipe["epochs"], recipe["gradient_clip"]) == (3, 1.0)
    assert "1,078 train, 360 validation, 359 test" in text
    assert "test accuracy" not in text
