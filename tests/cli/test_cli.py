from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ressearch.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; returns (exit code, stdout, stderr)."""
    code = 0
    try:
        main(arguments)
    except SystemExit as done:
        code = int(done.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_cost_prints_the_published_figures(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "cost", "resnet56-cifar", "--input", "3x32x32", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["params"], found["macs"], found["activations"]) == (855770, 125747850, 544778)
    _, out, _ = run(capsys, "cost", "resnet50-imagenet", "--json")
    found = json.loads(out)
    assert found["input"] == [3, 224, 224]
    assert (found["params"], found["macs"], found["activations"]) == (25557032, 4089185256, 11315688)


def test_cost_reads_names_and_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"depths": [9, 9, 9]}')
    from_file = run(capsys, "cost", str(file), "--json")[1]
    from_name = run(capsys, "cost", "basic-d9.9.9-w16.32.64", "--json")[1]
    assert json.loads(from_file)["params"] == json.loads(from_name)["params"] == 855770


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(capsys, "presets", "--json")[1])
    assert {row["name"]: row["params"] for row in rows}["resnet110-cifar"] == 1730714
    table = run(capsys, "presets")[1]
    assert max(map(len, table.splitlines())) <= 80


def test_show_lists_the_parts_and_draws_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    png, svg = tmp_path / "net.png", tmp_path / "net.svg"
    code, out, _ = run(capsys, "show", "resnet56-cifar", "--png", str(png), "--svg", str(svg))
    assert code == 0
    assert max(map(len, out.splitlines()[:-2])) <= 80
    assert re.search(r"stage 3\s+9 x basic\s+64x8x8\s+649,600\s+41,418,752", out)
    assert re.search(r"total\s+depth 56\s+855,770\s+125,747,850", out)
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in svg.read_text()
    found = json.loads(run(capsys, "show", "densenet100-bc-12-cifar", "--json")[1])
    assert [part["part"] for part in found["parts"]].count("transition") == 2
    assert sum(part["macs"] for part in found["parts"]) == found["macs"]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("efficientnet-b0-imagenet", "3x64x64"),
        ("convnext-tiny-imagenet", "3x64x64"),
        ("transformer-d2.2-w16.32+skip=weighted", "8x4"),
        ("mlp-d2-w16+skip=none", "30"),
        ("basic-d40.1-w8.16+norm=none+skip=fixup", "1x8x8"),
        ("basic-d2.2-w8.16+skip=conv_shortcut+norm_order=pre", "1x8x8"),
    ],
)
def test_every_kind_of_network_can_be_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, shape: str
) -> None:
    png = tmp_path / "net.png"
    assert run(capsys, "show", name, "--input", shape, "--png", str(png))[0] == 0
    assert png.stat().st_size > 10_000


STUDY = "space: {grid: {depth: [8, 14], width: 4}}\nrecipe: {epochs: 1}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "missing.yaml"], "missing.yaml: no such file"),
        (["check", "good.yaml", "--set", "recipe.epoch=3"], "did you mean 'epochs'"),
        (["check", "good.yaml", "--set", "space.grid.block=basc"], "did you mean 'basic'"),
        (["check", "good.yaml", "--set", "space.grid.depth=57"], "nearest: 56 or 62"),
        (["check", "good.yaml", "--set", "space.grid.width={low: 9, high: 3}"], "upside down"),
        (["check", "good.yaml", "--set", "recipe.lr=-1"], "expected a number above 0"),
        (["check", "good.yaml", "--set", "space.grid={}"], "the space is empty"),
        (["check", "good.yaml", "--set", "search.constraints.max_params=3"], "nothing in the space fits"),
        (["run", "good.yaml", "--set", "resources.gpus_per_trial=99"], "99 GPUs a trial, but this machine has"),
        (["check", "broken.yaml"], "broken.yaml:1: not valid YAML"),
        (["status", "nowhere"], "no such directory"),
        (["report", "."], "holds no study"),
        (["pick", "nowhere", "--max-macs", "lots"], "not a count"),
        (["cost", "resnet57-cifar"], "did you mean 'resnet56-cifar'"),
        (["cost", "resnet56-cifar", "--input", "32x32x"], "not channels x height x width"),
        (["cost", "resnet56-cifar", "--input", "32x32"], "input shape (32, 32) is not (channels, height, width)"),
        (["cost", "missing.json"], "missing.json: no such file"),
        (["show", "resnet20-cifar", "--png", "nowhere/x.png"], "nowhere/x.png: cannot be written"),
        (["show", "mlp-d2-w16"], "is not (features), such as (30,): block 'mlp' works on vectors"),
        (["check", "good.yaml", "--set", "data.name=breast_cancer"], "block 'basic' works on images"),
        (["check", "good.yaml", "--set", "space.grid.skip=fixup"], "norm: 'batch' is not compatible with skip 'fixup'"),
        (["rnu"], "no command 'rnu'; did you mean 'run'?"),
        (["run"], "Missing argument"),
        (["cost", "resnet56-cifar", "--jsn"], "No such option"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    (tmp_path / "good.yaml").write_text(STUDY)
    (tmp_path / "broken.yaml").write_text("space: [1, 2")
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.yaml", "good.yaml"]


def test_check_says_what_a_study_would_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(STUDY)
    code, out, _ = run(capsys, "check", str(file))
    assert code == 0
    for said in ("valid", "2 points", "cheapest", "dearest", "total      2 trials, 2 epochs, about"):
        assert said in out
    assert json.loads(run(capsys, "check", str(file), "--json")[1])["trials"] == 2


def test_status_report_and_pick_read_a_study(capsys: pytest.CaptureFixture[str], small_run: Path) -> None:
    assert "complete, 4 of 4 trials ended" in run(capsys, "status", str(small_run))[1]
    assert json.loads(run(capsys, "status", str(small_run), "--json")[1])["trials"] == {"completed": 4}
    assert Path(run(capsys, "report", str(small_run))[1].strip()).is_file()
    picked = json.loads(run(capsys, "pick", str(small_run), "--max-macs", "1M", "--json")[1])
    assert picked["macs"] <= 1_000_000
    code, _, err = run(capsys, "pick", str(small_run), "--max-params", "5")
    assert (code, err.count("\n")) == (2, 1)


def test_interrupt_leaves_a_directory_that_can_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    study = tmp_path / "long.yaml"
    study.write_text("space: {grid: {depth: [8, 14], width: 4}}\nrecipe: {epochs: 5000}\n")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ressearch", "run", str(study), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 600
    while not (journal.is_file() and journal.read_text().count('"epoch"') > 4):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "interrupted; what was done is kept" in err
    assert "Traceback" not in err
    recorded = json.loads((out / "run.json").read_text())["command"]
    assert recorded == shlex.join(["ressearch", "run", str(study), "--out", str(out)])
    status = json.loads(run(capsys, "status", str(out), "--json")[1])
    assert status["is_running"] is False
    assert set(status["trials"]) == {"interrupted"}
    page = Path(run(capsys, "report", str(out))[1].strip()).read_text()
    assert re.search(r"the study was stopped after epoch \d+", page)


@pytest.mark.parametrize(
    ("streams", "encoding"), [(">&-", "utf-8"), (">&- 2>&-", "utf-8"), ("", "ascii"), ("", "cp1252")]
)
def test_output_that_is_closed_or_lacks_a_character_is_no_defect(streams: str, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for words in ("list skips", "schema", "show resnet20-cifar"):
        command = f"{shlex.quote(sys.executable)} -m ressearch {words} {streams}"
        done = subprocess.run(["sh", "-c", command], env=environment, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr


def test_the_bare_command_prints_its_help_and_calls_it_no_error() -> None:
    done = subprocess.run([sys.executable, "-m", "ressearch"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: ressearch")
    assert "error" not in done.stderr.splitlines()[0]
