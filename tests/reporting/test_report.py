from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ressearch
from ressearch.errors import StudyError
from ressearch.statistics.intervals import difference_interval, mean_interval, pareto_front


def test_mean_interval_is_students() -> None:
    values = [0.91, 0.95, 0.93]
    ours = mean_interval(values)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert np.isnan(mean_interval([0.5]).low)
    assert "no interval" in str(mean_interval([0.5]))


def test_difference_interval_is_welchs() -> None:
    one, other = [0.9, 0.92, 0.97], [0.1, 0.5, 0.2]
    ours = difference_interval(one, other)
    theirs = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_pareto_front_keeps_what_nothing_beats() -> None:
    table = pd.DataFrame({"macs": [1, 2, 2, 3, 4], "score": [0.5, 0.4, 0.7, 0.7, 0.9], "name": list("abcde")})
    assert pareto_front(table, "macs", "score")["name"].tolist() == ["a", "c", "e"]


def test_report_is_self_contained_and_tells_the_study(small_run: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        page = ressearch.report(small_run)
    html, markdown = page.read_text(), (page.parent / "report.md").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", html)
    for text in (html, markdown):
        for said in (
            "Does a tiny network learn digits?",
            "What depth does",
            "Accuracy versus cost",
            "Learning curves",
            "What the study spent",
            "the test split was not used",
            "At depth 14, identity skips reach",
            "torch",
        ):
            assert said.lower() in text.lower()
    figures = ("depth_accuracy", "differences", "cost_accuracy", "learning_curves")
    assert html.count("<figure") == len(figures)
    for name in figures:
        assert (page.parent / "figures" / f"{name}.png").stat().st_size > 5000
        assert f"figures/{name}.png" in markdown
    trials = pd.read_csv(page.parent / "tables" / "trials.csv")
    assert len(trials) == 4
    depths = pd.read_csv(page.parent / "tables" / "depths.csv")
    results = ressearch.load(small_run)
    row = depths[(depths["line"] == "identity skips") & (depths["depth"] == 14)].iloc[0]
    seeds = results.trials.set_index("trial").loc[row["trial"], "seed_val_accuracies"]
    assert row["val_accuracy"] == pytest.approx(np.mean(seeds))


def test_report_needs_a_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such directory"):
        ressearch.report(tmp_path / "x")
    with pytest.raises(StudyError, match="holds no study"):
        ressearch.report(tmp_path)


def test_a_report_that_was_interrupted_is_made_anew_and_leaves_nothing(
    small_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ressearch.reporting import page

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    real = page._write_files
    monkeypatch.setattr(page, "_write_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ressearch.report(small_run)
    assert not (small_run / "report").exists()
    (small_run / "report" / ".unfinished" / "figures").mkdir(parents=True)  # as a kill leaves it
    monkeypatch.setattr(page, "_write_files", real)
    first = ressearch.report(small_run)
    assert sorted(one.name for one in first.parent.iterdir()) == [
        "claims.json",
        "figures",
        "report.html",
        "report.md",
        "tables",
    ]
    text = first.read_text()
    monkeypatch.setattr(page, "_write_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ressearch.report(small_run)
    assert first.read_text() == text
    monkeypatch.setattr(page, "_write_files", real)
    ressearch.report(small_run)
