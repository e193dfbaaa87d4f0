"""Study directories of the version before (tests/data/before_rooms) load, go on, report and pick as they did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import ressearch
from ressearch import load

DATA = Path(__file__).parents[1] / "data" / "before_rooms"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A copy to work on."""
    return Path(shutil.copytree(DATA, tmp_path / "older"))


def test_a_report_has_the_same_numbers(older: Path) -> None:
    ressearch.report(older / "search")
    for then in sorted((DATA / "search_tables").iterdir()):
        before, now = pd.read_csv(then), pd.read_csv(older / "search" / "report" / "tables" / then.name)
        pd.testing.assert_frame_equal(now[list(before.columns)], before)


def test_the_pick_is_the_same(older: Path) -> None:
    before, now = json.loads((DATA / "pick.json").read_text()), ressearch.pick(older / "search").to_dict()
    assert {key: now[key] for key in before} == before


def test_a_complete_study_stays_complete(older: Path) -> None:
    before = {path: path.read_bytes() for path in (older / "search").rglob("*") if path.is_file()}
    assert load(older / "search").progress.is_complete
    ressearch.resume(older / "search")
    assert {path: path.read_bytes() for path in (older / "search").rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("ray_started")
def test_a_killed_study_goes_on_from_its_checkpoint(older: Path) -> None:
    directory = older / "killed"
    before = load(directory)
    assert not before.progress.is_complete
    assert before.trials["status"].tolist()[:2] == ["completed", "completed"]
    ressearch.resume(directory)
    after = load(directory)
    assert after.progress.is_complete
    assert after.trials["status"].tolist() == ["completed"] * 4
    kept = before.trials.iloc[:2]
    pd.testing.assert_frame_equal(after.trials.iloc[:2][kept.columns], kept)
    both = after.curves.merge(before.curves, on=["trial", "seed", "epoch"], suffixes=("", "_before"))
    assert len(both) == len(before.curves)
    assert both["val_loss"].equals(both["val_loss_before"])  # no epoch was trained again
    assert len(after.curves) == 4 * 2 * 4
    epochs = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    trained = [
        (one["trial"], result["epoch"]) for one in epochs if one["event"] == "epoch" for result in one["results"]
    ]
    assert max(trained.count(one) for one in trained) == 2  # two seeds, once each
