"""`ressearch latency`: what it measures and prints, with a clock that is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ressearch.cli import main
from ressearch.networks import latency, latency_model, memory
from ressearch.networks.latency import Latency

STUDY = "space: {search: {depth: [8, 14], width: {low: 4, high: 8}}}\ndata: {name: synthetic}\nsearch: {trials: 2}\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; returns (exit code, stdout, stderr)."""
    code = 0
    try:
        main(("latency", *arguments))
    except SystemExit as done:
        code = int(done.code or 0)
    return code, *capsys.readouterr()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []

    def measure(architecture: Any, shape: Any, classes: Any, **how: Any) -> Latency:
        found.append((architecture.depth, shape, classes, how))
        return Latency(0.0025, 0.002, 0.00301, 44, how["batch_size"], "A CPU", how["threads"] or 2, how["exported"])

    monkeypatch.setattr(latency, "measure_latency", measure)
    monkeypatch.setattr(memory, "measure_memory", lambda *given, batch_size, device: 1_500_000 * batch_size)
    return found


def test_it_prints_the_median_and_half_of_the_runs(capsys: pytest.CaptureFixture[str], asked: list[Any]) -> None:
    code, out, _ = run(capsys, "resnet20-cifar")
    assert code == 0
    assert out == (
        "resnet20-cifar\n"
        "input      3x32x32, batch 1, 10 classes\n"
        "device     A CPU, 2 threads\n"
        "latency    2.5 ms (median; half of 44 runs from 2 ms to 3.01 ms)\n"
    )
    assert asked == [
        (20, (3, 32, 32), None, {"batch_size": 1, "device": "cpu", "threads": None, "exported": False}),
    ]
    assert max(map(len, out.splitlines())) <= 80


def test_its_options_reach_the_measurement(capsys: pytest.CaptureFixture[str], asked: list[Any]) -> None:
    given = ("--input", "3x16x16", "--classes", "7", "--batch-size", "8", "--threads", "1", "--exported")
    _, out, _ = run(capsys, "basic-d1.1-w8.16", *given, "--memory", "4")
    assert asked == [
        (6, (3, 16, 16), 7, {"batch_size": 8, "device": "cpu", "threads": 1, "exported": True}),
    ]
    assert "input      3x16x16, batch 8, 7 classes\ndevice     A CPU, 1 thread, exported\n" in out
    assert out.endswith("memory     6.0 MB at the peak of training with batches of 4\n")


def test_json_has_seconds_and_bytes(capsys: pytest.CaptureFixture[str], asked: list[Any]) -> None:
    found = json.loads(run(capsys, "resnet50-imagenet", "--json", "--memory", "2")[1])
    assert (found["name"], found["input"], found["num_classes"]) == ("resnet50-imagenet", [3, 224, 224], 1000)
    assert (found["low"], found["median"], found["high"], found["runs"]) == (0.002, 0.0025, 0.00301, 44)
    assert (found["device"], found["threads"], found["batch_size"], found["exported"]) == ("A CPU", 2, 1, False)
    assert found["training_memory"] == 3_000_000


def test_a_model_of_a_studys_space_predicts_beside_what_is_measured(
    capsys: pytest.CaptureFixture[str], asked: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Model:
        error = latency_model.HeldOut(0.05, 0.12, 60)

        def predict(self, architecture: Any, shape: Any, classes: Any) -> float:
            assert (architecture.depth, shape, classes) == (6, (1, 8, 8), 3)
            return 0.0024

    fitted: list[Any] = []
    monkeypatch.setattr(latency_model, "latency_model", lambda space, **how: fitted.append((space, how)) or Model())
    (tmp_path / "study.yaml").write_text(STUDY)
    given = ("basic-d1.1-w8.16", "--predict", str(tmp_path / "study.yaml"))
    code, out, _ = run(capsys, *given)
    assert code == 0
    assert out.endswith("predicted  2.4 ms; held-out error 5.0% (nine in ten below 12.0%; 60 networks)\n")
    ((space, how),) = fitted
    assert (space.input_shape, space.num_classes) == ((1, 8, 8), 3)
    assert how == {"device": "cpu", "threads": None, "batch_size": 1}
    found = json.loads(run(capsys, *given, "--json")[1])
    assert found["predicted"] == 0.0024
    assert found["held_out"] == {"median": 0.05, "high": 0.12, "networks": 60}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet20-cifr"], "did you mean 'resnet20-cifar'"),
        (["resnet20-cifar", "--input", "8"], "input shape (8,) is not (channels, height, width)"),
        (["resnet20-cifar", "--device", "banana"], "device 'banana' is not here"),
        (["resnet20-cifar", "--threads", "0"], "0 is not in the range"),
        (["resnet20-cifar", "--memory", "1"], "1 is not in the range"),
        (["resnet20-cifar", "--predict", "none.yaml"], "none.yaml: no such file"),
        (["resnet20-cifar", "--predict", "x.yaml", "--exported"], "--predict: a model is of modules"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err
