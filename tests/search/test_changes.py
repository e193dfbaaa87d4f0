"""A study goes on as it began: what was changed in its file is refused, or taken where it only extends the study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import ressearch
from ressearch import Study
from ressearch.cli import cli, main
from ressearch.errors import StudyError
from ressearch.results import load
from ressearch.results.run_file import read_run, write_run
from ressearch.search import runner
from ressearch.signals import Interrupted


def edit(directory: Path, path: str, value: Any) -> None:
    file = directory / "study.yaml"
    values = yaml.safe_load(file.read_text())
    *sections, key = path.split(".")
    target = values
    for section in sections:
        target = target.setdefault(section, {})
    target[key] = value
    file.write_text(yaml.safe_dump(values))


CHANGED = [
    ("recipe.epochs", 5, "recipe.epochs: 5, but the study began with 3"),
    ("recipe.lr", 0.2, "recipe.lr: 0.2, but the study began with 0.1"),
    ("recipe.seeds", 3, "recipe.seeds: [0, 1, 2], but the study began with [0, 1]"),
    ("space.grid.width", 8, "space.grid.width: 8, but the study began with 4"),
    ("space.grid.depth", [8], "space.grid.depth: [8], but the study began with [8, 14]"),
    ("data.validation", 0.3, "data.validation: 0.3, but the study began with None"),
    ("data.name", "synthetic", "data.name: 'synthetic', but the study began with 'digits'"),
    ("seed", 1, "seed: 1, but the study began with 0"),
    ("search.constraints.max_macs", 10**9, "search.constraints.max_macs: 1000000000, but the study began with None"),
    ("search.trials", 3, "search.trials: 3, but the study began with None"),
    ("search.budget.epochs", 3, "search.budget.epochs: 3, but the study began with None"),
]


@pytest.mark.parametrize("flag", [[], ["--accept-changes"]])
@pytest.mark.parametrize(("key", "value", "said"), CHANGED)
def test_a_change_of_what_is_compared_is_refused_with_both_values(
    small_run: Path, key: str, value: Any, said: str, flag: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    edit(small_run, key, value)
    journal = (small_run / "journal.jsonl").read_bytes()
    with pytest.raises(SystemExit) as ended:
        main(["resume", str(small_run), *flag])
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert said in text
    assert "a new directory" in text
    assert len(text.splitlines()) == 1
    assert (small_run / "journal.jsonl").read_bytes() == journal


def test_comments_order_and_layout_are_no_change(small_run: Path) -> None:
    values = yaml.safe_load((small_run / "study.yaml").read_text())
    text = "# a note\n" + yaml.safe_dump(dict(reversed(values.items())), default_flow_style=True)
    (small_run / "study.yaml").write_text(text)
    before = (small_run / "journal.jsonl").read_bytes()
    said = CliRunner().invoke(cli, ["resume", str(small_run)])
    assert "complete already; nothing to do" in said.output
    assert (small_run / "journal.jsonl").read_bytes() == before


def test_a_study_of_a_version_with_fewer_keys_is_compared_by_those_it_had(small_run: Path) -> None:
    run = read_run(small_run)
    for key in ("warm_start", "points", "baseline"):
        run["study"]["search"].pop(key)
    run["study"]["recipe"].pop("ema")
    write_run(small_run, run)
    assert ressearch.resume(small_run) == small_run
    run["study"]["recipe"]["weight_decay"] = 0.25  # what the file does not state was another version's default
    write_run(small_run, run)
    assert ressearch.resume(small_run) == small_run
    write_run(small_run, {key: value for key, value in run.items() if key not in ("stated", "record")})
    assert ressearch.resume(small_run) == small_run
    edit(small_run, "recipe.ema", 0.9)
    with pytest.raises(StudyError, match=r"recipe\.ema: 0\.9, but the study began with"):
        ressearch.resume(small_run)


@pytest.fixture
def without_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run does but train: the record is opened, changed and closed."""
    monkeypatch.setattr(runner, "_run_phases", lambda *arguments: None)


EXTENDED = [
    ("search.finalists.count", 2, ("final",)),
    ("resources.trial_time_limit", "10m", ()),
    ("resources.max_failure_rate", 0.9, ()),
    ("question", "Why?", ()),
]


@pytest.mark.usefixtures("without_phases")
@pytest.mark.parametrize(("key", "value", "missing"), EXTENDED)
def test_what_extends_a_study_is_taken_when_it_is_asked_for(
    small_run: Path, key: str, value: Any, missing: tuple[str, ...]
) -> None:
    edit(small_run, key, value)
    with pytest.raises(StudyError, match=r"`ressearch resume .* --accept-changes` goes on so"):
        ressearch.resume(small_run)
    if missing:
        with pytest.raises(Interrupted):
            ressearch.resume(small_run, accept_changes=True)
    else:
        ressearch.resume(small_run, accept_changes=True)
    events = [json.loads(line) for line in (small_run / "journal.jsonl").read_text().splitlines()]
    changes = [event for event in events if event["event"] == "change"]
    assert [event["key"] for event in changes] == [key]
    found = load(small_run)
    assert found.progress.missing == missing
    assert found.run["is_complete"] == (not missing)
    assert found.run["study"] == Study.from_directory(small_run).model_dump(mode="json")


@pytest.mark.usefixtures("without_phases")
def test_more_trials_reopen_a_search_but_not_once_its_finalists_have_trained(small_run: Path) -> None:
    def began_with_three() -> None:
        run = read_run(small_run)
        run["study"]["search"]["trials"] = 3
        write_run(small_run, {**run, "stated": {**run["stated"], "search": {"trials": 3}}, "planned_trials": 3})

    began_with_three()
    edit(small_run, "search.trials", None)
    ressearch.resume(small_run, accept_changes=True)
    assert read_run(small_run)["planned_trials"] == 4
    journal = small_run / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    last = max(at for at, event in enumerate(lines) if event["event"] == "start")
    lines[last]["phase"] = "final"
    journal.write_text("".join(json.dumps(event) + "\n" for event in lines))
    began_with_three()
    with pytest.raises(StudyError, match="its search is closed, for trials of the phase 'final' followed from it"):
        ressearch.resume(small_run, accept_changes=True)


def test_other_data_are_refused(small_run: Path) -> None:
    journal = small_run / "journal.jsonl"
    text = journal.read_text()
    journal.write_text(text[: text.rindex('{"event": "end"')])
    for table in ("trials", "curves"):
        (small_run / f"{table}.parquet").unlink()
    write_run(small_run, {**read_run(small_run), "split_fingerprint": "another"})
    with pytest.raises(StudyError, match="a study keeps its data"):
        ressearch.resume(small_run)
