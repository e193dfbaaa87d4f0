"""Studies that start from a file of weights: what check says, what the record holds, what resume refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ressearch import Architecture, Study, build, check, resume, run
from ressearch.cli import main
from ressearch.errors import StudyError
from ressearch.export import to_published
from ressearch.networks.pretrained import Weights, read_weights
from ressearch.reporting import page
from ressearch.results import load
from ressearch.search.initial import require_weights_fit
from ressearch.search.trial import TrialSpec, TrialTrainable
from ressearch.training import Recipe

SMALL = Architecture(depths=(1,), widths=(8,), stem="imagenet")

TEXT = """\
space: {{grid: {{block: basic, depths: [[1]], widths: [[8]], stem: imagenet, skip: [{skip}]}}}}
data: {{name: synthetic}}
recipe: {{epochs: 1, seeds: 2, init: {init}}}
"""


def study_file(directory: Path, init: str = "w.pt", skip: str = "identity") -> Path:
    directory.mkdir(exist_ok=True)
    torch.save({key: value.clone() for key, value in to_published(build(SMALL)).items()}, directory / "w.pt")
    (directory / "mine.yaml").write_text(TEXT.format(init=init, skip=skip))
    return directory / "mine.yaml"


def test_check_says_how_the_weights_are_adapted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = study_file(tmp_path)
    found = check(str(file))
    adapted = ["first convolution adapted to 1 input channels", "new classifier of 3 classes (the file's has 1000)"]
    assert sorted(found["init"]["adapted"]) == adapted
    main(["check", str(file)])
    assert "weights    every replicate starts from w.pt; " in capsys.readouterr().out


def test_networks_that_the_weights_do_not_fit_are_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_file(tmp_path, skip="identity, none")
    with pytest.raises(SystemExit, match="2"):
        main(["check", str(file)])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "mine.yaml:3: recipe.init: basic-d1-w8" in said
    assert "skip: 'none' is in no published ResNet" in said
    with pytest.raises(StudyError, match="skip: 'none'"):
        run(str(file), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("init", "said"), [("absent.pt", "cannot be read"), ("w.onnx", "no file of weights")])
def test_files_that_hold_no_weights_are_refused(tmp_path: Path, init: str, said: str) -> None:
    with pytest.raises(StudyError, match=rf"mine.yaml:3: recipe.init: .*{said}"):
        Study.from_file(study_file(tmp_path, init))


def test_spaces_too_large_to_list_are_sampled(tmp_path: Path) -> None:
    values = {
        "space": {"search": {"depths": [[1], [2]], "width": {"low": 8, "high": 512}, "stem": "imagenet"}},
        "data": {"name": "synthetic"},
        "search": {"trials": 2, "sampler": "random"},
        "recipe": {"init": str(study_file(tmp_path).parent / "w.pt")},
    }
    with pytest.raises(StudyError, match=r"recipe\.init: basic-.* (has shape|is missing|is no key)"):
        require_weights_fit(Study.from_dict(values))


def test_what_ran_is_on_record_and_a_changed_file_is_noticed(tmp_path: Path, ray_started: None) -> None:
    file = study_file(tmp_path)
    out = tmp_path / "out"
    run(str(file), out)
    record = json.loads((out / "run.json").read_text())
    weights = tmp_path / "w.pt"
    assert record["init"] == {"file": str(weights), "sha256": read_weights(weights).sha256}
    results = load(out)
    assert list(results.trials["status"]) == ["completed"]
    assert any("started from the weights in w.pt (SHA-256 " in line for line in page._method(results))
    record["is_complete"] = False
    (out / "run.json").write_text(json.dumps(record))
    Study.from_directory(out)
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(StudyError, match=r"recipe\.init: .*w\.pt was changed since the study began"):
        Study.from_directory(out)
    with (out / "study.yaml").open("a") as text:
        text.write("\nsearch: {budget: {epochs: 9}}\n")
    with pytest.raises(StudyError, match="was changed since the study began"):
        resume(out)


def test_a_checkpoint_is_gone_on_from_with_the_same_weights_alone() -> None:
    def key(init: Weights | None) -> str:
        trial = TrialTrainable.__new__(TrialTrainable)
        trial._config = {"architecture": SMALL.to_dict(), "lr": None}
        trial._spec = TrialSpec(Recipe(init=None if init is None else init.file), threads=1, classes=3, init=init)
        return trial._key

    assert key(Weights("w.pt", "a", {})) == key(Weights("w.pt", "a", {})) != key(Weights("w.pt", "b", {}))
    config = {"architecture": SMALL.to_dict(), "lr": None}
    assert json.loads(key(None)) == [config, Recipe().model_dump(mode="json")]  # as older checkpoints have it
