"""Study files that somebody spoilt: every one is either checked or refused, a line per mistake."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from ressearch.cli import main
from ressearch.search import estimate

TEXTS = [path.read_text() for path in sorted((Path(__file__).parents[1] / "studies").glob("*.yaml"))] + [
    """\
name: everything
seed: 3
space:
  search:
    block: [basic, bottleneck]
    depths: [[1, 1, 1], [2, 2, 2]]
    width: {match: macs, target: 2M}
    skip: [none, {scaled: {alpha: {low: 0.1, high: 1.0}}}, {stochastic_depth: {survival: 0.5}}]
    norm: [batch, group]
data: {name: digits, validation: 0.2, test: 0.2}
recipe: {lr: {tune: [0.05, 0.1]}, epochs: 4, seeds: [0, 1], augmentation: [crop, mixup], ema: 0.9, warmup_epochs: 1}
search:
  trials: 9
  sampler: {name: tpe, n_startup_trials: 3}
  scheduler: {name: asha, grace_period: 1}
  objective: [val_accuracy, macs]
  constraints: {max_params: 1M}
  budget: {epochs: 100, wall_time: 2h}
  points: [{skip: none}, resnet20-cifar]
  finalists: {count: 2, seeds: 3}
  baseline: random
resources: {cpus_per_trial: 1, trial_time_limit: 10m}
loggers: [tensorboard]
""",
]
VALUES = ["-1", "0", "1e99", "nan", ".inf", "null", "true", "''", "[]", "{}", "[1, [2]]", "{a: b}", "'ü'", "2M", "~"]
VALUES += ["[none", "!!python/object/apply:os.system [ls]", "*x", "&x 3", "0x1F", "2001-01-01", "1_000", "9" * 20]


def spoil(text: str, chance: random.Random) -> str:
    """Change a study file in one to three ways that people and editors do."""
    lines = text.splitlines()
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines))
        line = lines[at]
        match chance.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, line)
            case 2:
                lines[at] = " " * chance.randrange(4) + line
            case 3:
                lines[at] = line[: chance.randrange(len(line) + 1)]
            case 4 if ":" in line:
                lines[at] = f"{line.split(':')[0]}: {chance.choice(VALUES)}"
            case 5 if line.strip():
                place = chance.randrange(len(line))
                lines[at] = line[:place] + chance.choice("abz_-:[]{},#'\"\t%@ü0") + line[place + 1 :]
            case 6:
                words = line.split(" ")
                word = chance.randrange(len(words))
                words[word] = chance.choice(VALUES)
                lines[at] = " ".join(words)
            case _:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
        if not lines:
            return ""
    return "\n".join(lines) + "\n"


@examples(300)
@given(st.sampled_from(TEXTS), st.integers(0, 2**32))
def test_a_spoilt_study_file_is_checked_or_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, seed: int
) -> None:
    monkeypatch.setattr(estimate, "_step_seconds", lambda study, architecture, examples: 0.01)
    file = tmp_path / "study.yaml"
    file.write_text(spoil(text, random.Random(seed)), encoding="utf-8")
    code: object = 0
    try:
        main(["check", str(file)])
    except SystemExit as done:
        code = done.code
    out, error = capsys.readouterr()
    spoilt = file.read_text()
    assert code in (0, 2), spoilt
    assert ("valid" in out) == (code == 0), spoilt
    assert all(line.startswith("ressearch: error: ") for line in error.splitlines()), spoilt
    assert bool(error) == (code == 2), spoilt
    assert "Traceback" not in error
