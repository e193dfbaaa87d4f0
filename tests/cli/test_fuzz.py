"""A small form of `benchmarks/fuzz.py`: a hundred spoilt inputs, always the same, through its own processes."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import fuzz
import fuzz_cases
import pytest

from ressearch.cli import cli


def test_a_hundred_spoilt_inputs_end_well() -> None:
    found = fuzz.fuzz(inputs=100, seed=11, jobs=1)
    assert found["inputs"] == 100
    assert found["failures"] == []
    assert set(found["exit_codes"]) == {"0", "2"}


def test_the_same_seed_makes_the_same_input(tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        work = tmp_path / name / "work"
        work.mkdir(parents=True)
        case = fuzz_cases.overridden_study(random.Random("1/2"), tmp_path, work)
        made.append((case.arguments[2:], (work / "study.yaml").read_text()))
    assert made[0] == made[1]


def test_the_fuzzer_sees_a_traceback_a_wrong_exit_and_an_overwritten_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fuzz_cases, "make", _presets)
    assert fuzz.meet(1, 1, tmp_path)["problems"] == []

    def broken(*arguments: object, **options: object) -> None:
        Path("mine.txt").write_text("gone")
        Path("../elsewhere").write_text("there")
        raise ZeroDivisionError

    monkeypatch.setattr(cli.commands["presets"], "callback", broken)
    problems = fuzz.meet(1, 1, tmp_path)["problems"]
    assert problems == ["exit code 70", "work/mine.txt is not what it was", "elsewhere was written outside"]


HANGS = "import time; print('ready', flush=True); time.sleep(60)"
DIES = "import os; print('ready', flush=True); input(); os.abort()"


@pytest.mark.parametrize(("script", "problem"), [(HANGS, "longer than 0.1 s"), (DIES, "the process died: -6")])
def test_the_fuzzer_sees_a_hang_and_a_dead_process(monkeypatch: pytest.MonkeyPatch, script: str, problem: str) -> None:
    monkeypatch.setattr(fuzz.Worker, "command", (sys.executable, "-c", script))
    if script is HANGS:
        monkeypatch.setattr(fuzz, "LIMIT", 0.1)
    found = fuzz.fuzz(inputs=2, seed=1, jobs=1)
    assert [one["problems"][0][: len(problem)] for one in found["failures"]] == [problem] * 2


def _presets(chance: random.Random, bases: Path, work: Path) -> fuzz_cases.Case:
    (work / "mine.txt").write_text("mine")
    return fuzz_cases.Case(["presets", "--json"], "")


def test_the_committed_run_is_what_the_page_says() -> None:
    found = json.loads((Path(fuzz.__file__).parent / "results" / "fuzz.json").read_text())
    page = " ".join((Path(fuzz.__file__).parent / "README.md").read_text().split())
    accepted, refused = (f"{found['exit_codes'][code]:,}" for code in ("0", "2"))
    assert f"{found['inputs']:,} spoilt inputs" in page
    assert f"{accepted} were accepted, {refused} refused" in page
    assert f"the slowest took {found['slowest_seconds']} s" in page
    assert set(found["exit_codes"]) == {"0", "2"}
    assert found["failures"] == []
