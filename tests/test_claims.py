"""Figures that the pages state, held against the results that are committed beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ressearch.networks.blocks import BLOCKS
from ressearch.networks.shortcuts import SHORTCUTS
from ressearch.networks.skips import SKIPS
from ressearch.networks.stems import STEMS
from ressearch.training import choose

ROOT = Path(__file__).parents[1]


def page(name: str) -> str:
    return " ".join((ROOT / name).read_text().split())


def run(report: str) -> dict[str, Any]:
    return json.loads((ROOT / "reports" / report / "run.json").read_text())


def trials(report: str) -> pd.DataFrame:
    return pd.read_parquet(ROOT / "reports" / report / "trials.parquet")


@pytest.mark.parametrize("name", ["README.md", "docs/space.md"])
def test_architectures_costed_per_second_are_those_of_the_benchmark(name: str) -> None:
    rows = json.loads((ROOT / "benchmarks/results/cost.json").read_text())["rows"]
    assert f"{rows['ressearch.cost']['per_second'] / 1000:.0f} thousand" in page(name)
    assert 1.5 < rows["FlopCounterMode (meta)"]["per_second"] < 2.5  # "counts two"


@pytest.mark.parametrize(
    ("name", "report", "said", "minutes"),
    [
        ("README.md", "degradation", "in about a minute on two CPU cores", 1),
        ("studies/degradation.yaml", "degradation", "About a minute on two CPU cores", 1),
        ("studies/quickstart.yaml", "quickstart", "About a minute on two CPU cores", 1),
        ("studies/fashion_mnist_depth.yaml", "fashion_mnist_depth", "(about 20 minutes; 100 training images", 20),
        ("studies/fashion_mnist_search.yaml", "fashion_mnist_search", "(about 5 minutes; 200 training images", 5),
    ],
)
def test_minutes_said_are_those_of_the_committed_run(name: str, report: str, said: str, minutes: float) -> None:
    record = run(report)
    assert said in page(name)
    assert record["machine"]["cpu_cores"] == record["concurrency"] == 2
    assert minutes / 1.5 < record["active_seconds"] / 60 < 1.5 * minutes


def test_the_readmes_fashion_mnist_figures_are_the_reports() -> None:
    depth = trials("fashion_mnist_depth")
    plain = depth[(depth["skip"] == "none") & (depth["norm_order"] == "post")].set_index("depth")["val_accuracy"]
    text = page("README.md")
    assert f"from {plain[8]:.3f} at depth 8 to {plain[110]:.3f} at depth 110" in text
    overrides = {report: run(report)["overrides"] for report in ("fashion_mnist_depth", "fashion_mnist_search")}
    per_class = {report: values["data.per_class"] for report, values in overrides.items()}
    assert f"({per_class['fashion_mnist_depth']} training images per class, three seeds)" in text
    assert set(depth["seeds"].map(len)) == {3}
    assert f"({per_class['fashion_mnist_search']} images per class, one seed; finalists on three fresh ones)" in text
    search = trials("fashion_mnist_search")
    assert set(search[search["phase"] == "search"]["seeds"].map(len)) == {1}
    finals = search[search["phase"] == "final"]
    assert set(finals["seeds"].map(len)) == {3}
    done = search[(search["phase"] == "search") & (search["status"] == "completed")]
    best = done.sort_values("val_accuracy").iloc[-1]
    (final,) = (row for _, row in finals.iterrows() if row["of_trial"] == best["trial"])
    said = f"of {best['params'] / 1000:.0f} thousand parameters with a test accuracy of {final['test_accuracy']:.3f}"
    assert said in text


def test_what_a_warm_up_costs_is_said_as_measured() -> None:
    rows = json.loads((ROOT / "benchmarks/results/warm_up_cpu.json").read_text())["rows"]
    shares = [row["share_of_the_shortest"] for row in rows.values()]
    assert max(shares) <= choose.MOST_SHARE
    first, last = rows["digits, width 8"], rows["CIFAR, width 64"]
    seconds = f"{first['warm_up_seconds']:.1f} s", f"{last['warm_up_seconds']:.0f} s"
    text = page("docs/training.md")
    assert f"took {seconds[0]} on digits at width 8 and {seconds[1]} on 3×32×32 images at width 64" in text
    assert f"{first['share_of_the_shortest']:.1%}".replace("%", " %") in text
    assert f"{last['share_of_the_shortest']:.1%}".replace("%", " %") in text
    assert f"takes {seconds[0]} (digits, width 8) to {seconds[1]} (3×32×32" in page("benchmarks/README.md")
    assert f"never takes more than {choose.MOST_SHARE:.0%}".replace("%", " %") in text
    for choices in (4, 2):
        assert f"{choose.warm_up_steps(choices) / choose.MOST_SHARE:.0f}" in text


def test_how_long_the_commands_take_is_said_as_measured() -> None:
    rows = json.loads((ROOT / "benchmarks/results/cli_start.json").read_text())["rows"]
    ratio = {name: row["ratio"] for name, row in rows.items()}
    text = page("benchmarks/README.md")
    assert f"`ressearch --help` takes {ratio['--help']:.1f} times as long as `python -c pass`" in text
    assert f"`ressearch list` {ratio['list']:.1f} times; `status` {ratio['status']:.0f} times" in text
    assert f"`pick` {ratio['pick']:.0f} times and `check` of the quickstart {ratio['check']:.0f} times" in text


def test_how_much_faster_the_engine_is_is_said_as_measured() -> None:
    one, four, _, four_at_once = json.loads((ROOT / "benchmarks/results/trial_throughput_cpu.json").read_text())["rows"]
    text = page("benchmarks/README.md")
    assert f"({four['plain_seconds'] / four_at_once['engine_seconds']:.2f}×)" in text
    assert f"the same two at once, {four_at_once['ratio']:.1f}×; alone on both cores, {four['ratio']:.1f}×" in text
    assert f"One seed: {one['ratio']:.1f}×" in text


@pytest.mark.parametrize(
    ("title", "registry"),
    [("blocks", BLOCKS), ("skip styles", SKIPS), ("shortcuts", SHORTCUTS), ("stems", STEMS)],
)
def test_the_readme_counts_the_axes_of_the_space(title: str, registry: dict[str, Any]) -> None:
    words = {5: "five", 6: "six", 10: "ten", 16: "sixteen"}
    assert f"{words[len(registry)]} {title}" in page("README.md")


def test_proposals_are_as_good_as_the_pages_say() -> None:
    summary = json.loads((ROOT / "benchmarks/results/samplers.json").read_text())["summary"]
    assert set(summary) == {"small", "small_bounded", "medium", "conditional", "regnet"}
    text = page("benchmarks/README.md")
    for name, found in summary.items():
        assert found["asks_per_trial"] <= 1.3
        assert found["ms_per_ask"] <= 20
        assert found["regret"]["ressearch"] <= found["regret"]["optuna"]
        assert found["less_than_random"]["high"] < 0
        assert (
            f"| {name} | {1000 * found['regret']['ressearch']:.1f} | {1000 * found['regret']['optuna']:.1f} |" in text
        )


def test_the_macs_of_the_search_that_was_to_pay_are_said() -> None:
    summary = json.loads((ROOT / "benchmarks/results/search_pays.json").read_text())["summary"]
    low, high = summary["macs_shares"]
    said = f"{summary['macs_share_of_all']:.0%} of its MACs ({low:.0%} to {high:.0%} by seed)".replace("%", " %")
    assert said in page("benchmarks/README.md")


PICKS = json.loads((ROOT / "benchmarks/results/picks.json").read_text())


def of_picks(part: str) -> list[dict[str, Any]]:
    return [one for study in PICKS["studies"].values() for one in study.get(part, ())]


def test_how_often_predictions_of_picks_held_is_said_as_verified() -> None:
    found, rows = PICKS["summary"]["predictions"], of_picks("predictions")
    held = sum(one["low"] <= np.mean(one["seed_val_accuracies"]) <= one["high"] for one in rows)
    assert (found["verified"], found["held"]) == (len(rows), held)
    assert len(rows) >= 40
    assert all(min(one["seeds"]) >= 2 for one in rows)  # the studies trained seeds 0 and 1
    assert all(one["bound"] is None or one["has"] <= one["bound"] for one in rows)
    low = stats.beta.ppf(0.025, held, len(rows) - held + 1)  # Clopper and Pearson 1934
    high = stats.beta.ppf(0.975, held + 1, len(rows) - held) if held < len(rows) else 1.0
    assert found["interval"] == pytest.approx([low, high])
    said = f"{held} of {len(rows)} picks, {held / len(rows):.0%} (95% interval {low:.0%} to {high:.0%})"
    for name in ("benchmarks/README.md", "docs/picking.md"):
        assert said.replace("%", " %") in page(name)


def test_that_picks_keep_their_limits_and_beat_named_networks_is_said_as_measured() -> None:
    limits, fresh = PICKS["summary"]["budgets"], PICKS["summary"]["fresh"]
    rows, pairs = of_picks("budgets"), of_picks("fresh")
    exact = [one for one in rows if one["limit"] != "latency"]
    assert all(one["has"] <= one["bound"] for one in exact)
    assert all(other["estimate"] <= one["estimate"] for one in exact for other in one["named"])
    assert (limits["budgets"], limits["counted"], fresh["compared"]) == (len(rows), len(exact), len(pairs))
    better, worse = sum(one["low"] > 0 for one in pairs), sum(one["high"] < 0 for one in pairs)
    text = page("benchmarks/README.md")
    assert f"{len(exact)} of the {len(rows)} picks" in text
    assert f"of {len(pairs)} comparisons the pick is better in {better} and worse in {worse}" in text
