"""The tutorial's commands, run in its order on a small folder of real images."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ressearch.cli import main

TUTORIAL = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text()
SMALLER = {
    "depth: [8, 20, 56]": "depth: [8, 14]",
    "epochs: 20": "epochs: 2",
    "size: 32 ": "size: 16 ",
    "width: 8": "width: 4",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL, flags=re.S)


def test_every_command_of_the_tutorial_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    for index in range(240):
        if (label := digits.target[index]) < 3:
            folder = tmp_path / "photos" / ("cat", "dog", "owl")[label]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = (digits.images[index] * 15).astype("uint8")
            size = (20 + index % 9, 20)  # photos are of many sizes
            Image.fromarray(pixels).resize(size).convert("RGB").save(folder / f"{index:03}.png")
    study, finalists = blocks("yaml")
    for old, new in SMALLER.items():
        assert old in study
        study = study.replace(old, new)
    (tmp_path / "depth.yaml").write_text(study + finalists.replace("count: 2, seeds: 5", "count: 1, seeds: 2"))
    commands = [line for block in blocks("sh") for line in block.splitlines() if line]
    assert [command.split()[1] for command in commands] == ["data", "check", "run", "report", "pick", "export"]
    for command in commands:
        main(shlex.split(command, comments=True)[1:])
    out = capsys.readouterr().out
    assert "has_test" not in out
    assert "val_accuracy" in out
    assert "test split scored 1 finalists, once" in (tmp_path / "runs/depth/report/report.md").read_text()
    text = (tmp_path / "runs/depth/report/report.md").read_text()
    assert re.search(r"^\*\*.*depth", text, re.MULTILINE), "the answer comes first"
    (program,) = blocks("python")
    alone = "import sys; sys.modules['ressearch'] = None\n"  # the program needs torch alone
    shown = "\nprint(tuple(logits.shape))"
    ended = subprocess.run(
        [sys.executable, "-c", alone + program.replace("32, 32", "16, 16") + shown], capture_output=True, text=True
    )
    assert ended.stdout.strip() == "(4, 3)", ended.stderr
