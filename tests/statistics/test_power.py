"""What so many seeds could see, against seeds that are drawn, and what accuracies of real networks vary by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import ressearch
from ressearch.cli import main
from ressearch.statistics.power import detectable, expected_deviation

REPORTS = Path(__file__).parents[2] / "reports"


@pytest.mark.parametrize(("seeds", "deviation"), [(2, 0.01), (3, 0.016), (6, 0.027), (12, 0.027)])
def test_the_difference_is_found_in_four_of_five_drawn_studies(seeds: int, deviation: float) -> None:
    size = detectable(deviation, seeds, 2 * (seeds - 1))
    rng = np.random.default_rng(seeds)
    one, other = (rng.normal(mean, deviation, (50_000, seeds)) for mean in (0.9, 0.9 + size))
    found = (stats.ttest_ind(one, other, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.008)  # four standard errors


def test_more_power_takes_a_larger_difference() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.normal(mean, 1.0, (50_000, 4)) for mean in (0, detectable(1.0, 4, 6, 0.5)))
    assert (stats.ttest_ind(one, other, axis=1).pvalue < 0.05).mean() == pytest.approx(0.5, abs=0.01)


def test_the_expected_deviation_is_that_of_counts() -> None:
    assert expected_deviation(0.9, 360) == pytest.approx(stats.binom(360, 0.9).std() / 360)


@pytest.mark.parametrize("report", ["degradation", "fashion_mnist_depth", "quickstart", "fashion_mnist_search"])
def test_real_networks_vary_over_seeds_about_as_expected(report: str) -> None:
    results = ressearch.load(REPORTS / report)
    trained = results.trials[results.trials["status"] == "completed"]
    scores = [np.asarray(one) for one in trained["seed_val_accuracies"] if len(one) > 1]
    examples = results.run["examples"]["validation"]
    ratios = [one.std(ddof=1) / expected_deviation(one.mean(), examples) for one in scores if one.mean() > 0.6]
    assert 0.75 < np.median(ratios) < 1.25


def test_check_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study.yaml"
    study.write_text("space: {grid: {depth: 8, width: 4}}\nrecipe: {epochs: 1, seeds: 3}\n")
    main(["check", str(study)])
    assert (
        "seeds      3 per network find differences of 0.049 in 80 % of cases, 6 of 0.028, if accuracies near 0.9 vary "
        "by 0.016 over seeds\n"
    ) in capsys.readouterr().out
    main(["check", str(study), "--set", "recipe.seeds=1"])
    said = capsys.readouterr().out
    assert "seeds      1 per network cannot tell two networks apart from chance; train each on at least three\n" in said
    assert ressearch.check(ressearch.Study.from_file(study, ["recipe.seeds=1"]))["detectable"] is None
