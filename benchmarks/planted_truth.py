"""Does a report claim what is true? Results with a known truth go in as a table; its claims are held against it.

Nothing is trained: a generator draws each seed's accuracy around its network's true one, `of_table` reads the table as
it reads a reader's own, and the analyses of a report make their claims. Counted are:

- difference: intervals of a skip style against plain networks that hold the true difference;
- flat: lines on which depth does nothing, and an onset or a best depth is claimed all the same;
- depth: the true best depth, saturation and onset within their intervals, and how often they are claimed at all;
- winner: what the best network's estimate is off, in standard deviations over seeds, beside the highest mean's;
  how often its interval holds, and whether the truly best network is among those tied with the best;
- axes: intervals of effects in a search whose depth and width go together, and refusals where they are not told apart;
- scaling: intervals of a power law's exponent and floor;
- search: intervals of the steps from a search's plainest network to its best (held together: wide alone), of trends of
  error quantiles, and how often an axis that does nothing is said to set the best networks apart;
- studies: intervals of how two studies differ, on average, of each network and of what a choice changes, one of them
  with collapsed networks; both with the examples that they scored, the same or others;
- examples: intervals of a difference that also holds over the choice of examples, by which ones each seed had right.

Targets: intervals hold in 93 to 97 % of cases, no more than 5 % of false claims, a bias of at most 0.1 (0.2 where
networks are skewed or collapse). An interval that holds more often than it says is called wide, not wrong.

    python benchmarks/planted_truth.py [--repetitions 500] [--only flat depth] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from common import RESULTS, save
from scipy import special

from ressearch.reporting.any_table import of_table
from ressearch.reporting.claims import ANALYSES, Claim
from ressearch.reporting.evidence import Evidence
from ressearch.reporting.side_by_side import side_by_side

DEVIATION = 0.005
"""Of accuracies over seeds, unless a case says otherwise."""

COVERAGE, FALSE, POWER = "coverage", "false claims", "power"


@dataclass
class Tally:
    """What was counted: for each case and quantity, its kind and one value for each time it could occur."""

    counted: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)

    def add(self, case: str, quantity: str, kind: str, value: float) -> None:
        """Count one value: 1 or 0 where the kind is a share."""
        self.counted.setdefault((case, quantity, kind), []).append(float(value))


Scenario = Callable[[np.random.Generator, Tally], None]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    """Register one repetition of a scenario, of all its cases, under its function's name."""
    SCENARIOS[function.__name__] = function
    return function


def trained(
    rng: np.random.Generator,
    networks: Sequence[dict[str, Any]],
    truth: Sequence[float],
    deviation: Sequence[float] | float,
    seeds: int,
) -> pd.DataFrame:
    """Return a table of results: of each network `seeds` accuracies around its true one."""
    spread = np.broadcast_to(np.asarray(deviation, dtype=float), len(networks))
    accuracy = np.array(truth)[:, None] + spread[:, None] * rng.standard_normal((len(networks), seeds))
    table = pd.DataFrame([row for row in networks for _ in range(seeds)])
    table["seed"] = np.tile(np.arange(seeds), len(networks))
    table["val_accuracy"] = accuracy.clip(0, 1).ravel()
    return table


def claimed(evidence: Evidence, analysis: str, kind: str) -> list[Claim]:
    """Return the claims of one kind that an analysis makes."""
    return [one for one in ANALYSES[analysis](evidence) if one.kind == kind]


def holds(claim: Claim, truth: float) -> bool:
    """Return whether the claim's interval holds the truth."""
    return bool(claim.low - 1e-12 <= truth <= claim.high + 1e-12)


@scenario
def difference(rng: np.random.Generator, tally: Tally) -> None:
    """Residual and plain networks of four depths; the deepest plain ones collapse where the case says so."""
    depths = (8, 20, 44, 110)
    networks = [{"depth": depth, "skip": skip, "width": 16} for depth in depths for skip in ("none", "identity")]
    plain = {"equal": (0.90, 0.90, 0.90, 0.90), "collapsed": (0.90, 0.90, 0.50, 0.40)}
    for case, levels in plain.items():
        truth = [level for pair in zip(levels, (0.90, 0.91, 0.91, 0.91), strict=True) for level in pair]
        spread = [DEVIATION * (10 if level < 0.6 else 1) for level in truth]
        for seeds in (2, 3, 5):
            evidence = of_table(trained(rng, networks, truth, spread, seeds))
            for claim in claimed(evidence, "comparisons", "difference"):
                at = 2 * depths.index(claim.subject["depth"])
                group = "collapsed networks" if levels[at // 2] < 0.6 else "like networks"
                name = f"{case}, {seeds} seeds"
                tally.add(name, f"difference of {group}", COVERAGE, holds(claim, truth[at + 1] - truth[at]))


@scenario
def flat(rng: np.random.Generator, tally: Tally) -> None:
    """Lines of five depths on which nothing changes but, in some cases, the variance over seeds."""
    depths = (8, 14, 20, 32, 56)
    spreads = {
        "equal": np.full(5, DEVIATION),
        "unequal": DEVIATION * np.exp(rng.normal(0, 0.7, 5)),
        "deepest varies 100 times as much": DEVIATION * np.array([1, 1, 1, 1, 10]),
    }
    for case, spread in spreads.items():
        for seeds in (2, 3, 5):
            networks = [{"depth": depth, "skip": "none", "width": 16} for depth in depths]
            _flat(trained(rng, networks, [0.9] * 5, spread, seeds), f"{case}, {seeds} seeds", tally)
    networks = [{"depth": depth, "skip": "none", "width": 16} for depth in depths]
    _flat(trained(rng, networks, [0.9] * 5, 0.002, 2).round(3), "rounded to 0.001, 2 seeds", tally)
    skips = ("none", "identity", "rezero")
    networks = [{"depth": depth, "skip": skip, "width": 16} for depth in depths[:4] for skip in skips]
    _flat(trained(rng, networks, [0.9] * 12, DEVIATION, 3), "three lines, equal, 3 seeds", tally)


def _flat(table: pd.DataFrame, case: str, tally: Tally) -> None:
    claims = ANALYSES["depth"](of_table(table))
    for kind in ("degradation_onset", "best_depth"):
        wrong = any(one.estimate is not None for one in claims if one.kind == kind)
        tally.add(case, kind.replace("_", " "), FALSE, wrong)


@scenario
def depth(rng: np.random.Generator, tally: Tally) -> None:
    """Lines of six depths with a peak, a plateau and a collapse."""
    depths = (8, 14, 20, 32, 44, 56)
    shapes = {
        "peak": (0.880, 0.895, 0.905, 0.900, 0.885, 0.860),
        "plateau": (0.860, 0.890, 0.905, 0.905, 0.905, 0.905),
        "collapse": (0.880, 0.900, 0.915, 0.880, 0.500, 0.300),
    }
    for case, truth in shapes.items():
        networks = [{"depth": one, "skip": "none", "width": 16} for one in depths]
        spread = [DEVIATION * (10 if level < 0.6 else 1) for level in truth]
        evidence = of_table(trained(rng, networks, truth, spread, 3))
        best, saturation, onset = ANALYSES["depth"](evidence)
        name = f"{case}, 3 seeds"
        if case == "plateau":
            tally.add(name, "onset", FALSE, onset.estimate is not None)
            tally.add(name, "a best depth among the equal ones", COVERAGE, best.high >= 20)
        else:
            tally.add(name, "best depth", COVERAGE, holds(best, 20))
            tally.add(name, "best depth is told", POWER, best.estimate == 20)
            tally.add(name, "onset is told", POWER, onset.estimate is not None)
            if onset.estimate is not None:
                tally.add(name, "onset", COVERAGE, holds(onset, 32))
        tally.add(name, "saturation depth", COVERAGE, holds(saturation, 20))
        tally.add(name, "saturation is 20", POWER, saturation.estimate == 20)


def population(rng: np.random.Generator, kind: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return true accuracies of networks, and their standard deviations over seeds; all distinct in expectation."""
    spread = np.full(count, 0.01)
    if kind == "equal":
        return np.full(count, 0.85), spread
    if kind == "skewed":
        return 0.92 - rng.exponential(0.02, count), spread
    truth = 0.85 + 0.01 * rng.standard_normal(count)
    if kind == "collapsed":
        fallen = rng.random(count) < 0.2
        truth[fallen] = rng.uniform(0.2, 0.6, int(fallen.sum()))
        spread[fallen] = 0.1
    return truth, spread


@scenario
def winner(rng: np.random.Generator, tally: Tally) -> None:
    """The best of 10, 30 and 100 networks of three seeds, from four kinds of population."""
    for kind in ("normal", "equal", "skewed", "collapsed"):
        for count in (10, 30, 100):
            truth, spread = population(rng, kind, count)
            networks = [{"name": f"network {one}", "macs": 1000 + one} for one in range(count)]
            evidence = of_table(trained(rng, networks, truth, spread, 3))
            name, seed_deviation = f"{kind}, {count} networks", 0.01
            (shrunk,) = claimed(evidence, "winner", "shrunk_winner")
            (tied,) = claimed(evidence, "winner", "tied_with_best")
            means = np.array([evidence.scores[one].mean() for one in range(count)])
            chosen, highest = truth[shrunk.subject["network"]], int(means.argmax())
            bias = "bias (hard)" if kind in ("skewed", "collapsed") else "bias"
            tally.add(name, "shrunk winner", bias, (shrunk.estimate - chosen) / seed_deviation)
            tally.add(name, "highest mean", "of old", (means[highest] - truth[highest]) / seed_deviation)
            tally.add(name, "interval", COVERAGE, holds(shrunk, chosen))
            tally.add(name, "the best is tied", COVERAGE, int(truth.argmax()) in tied.more["networks"])
            tally.add(name, "share of networks tied", POWER, tied.estimate / count)


@scenario
def axes(rng: np.random.Generator, tally: Tally) -> None:
    """A search of 40 networks whose depth and width go together, more or less; deeper ones vary more."""
    for correlation in (0.0, 0.6, 0.85, 1.0):
        octaves = rng.multivariate_normal([5, 5], np.array([[1, correlation], [correlation, 1]]), 40)
        depths, widths = (2**octaves).round().astype(int).clip(2, 400).T
        if correlation == 1:
            widths = 2 * depths
        skips = rng.choice(["none", "identity", "rezero"], 40, p=[0.4, 0.3, 0.3])
        effect = {"none": 0.0, "identity": 0.01, "rezero": 0.0}
        own = 0.004 * np.exp(0.4 * (octaves[:, 0] - 5)) * rng.standard_normal(40)
        truth = 0.8 + 0.006 * np.log2(depths) + 0.004 * np.log2(widths) + [effect[one] for one in skips] + own
        networks = [
            {
                "name": f"network {at}",
                "depth": int(one),
                "width": int(other),
                "skip": str(skip),
                "macs": int(one * other**2),
            }
            for at, (one, other, skip) in enumerate(zip(depths, widths, skips, strict=True))
        ]
        evidence = replace(of_table(trained(rng, networks, truth, DEVIATION, 3)), is_search=True)
        name = f"correlation {correlation:g}"
        for claim in claimed(evidence, "axes", "axis_effect"):
            axis, is_matched = claim.subject["axis"], "MACs" in claim.subject["held"]
            quantity = f"{axis} at equal MACs" if is_matched else axis
            if correlation == 1 and axis in ("depth", "width"):
                tally.add(name, f"{axis} told from the other", FALSE, claim.estimate is not None)
            elif claim.estimate is not None:
                planted = {"depth": 0.004 if is_matched else 0.006, "width": 0.004}
                is_held = holds(claim, effect[claim.subject["value"]] if axis == "skip" else planted[axis])
                tally.add(name, quantity, COVERAGE, is_held)
            if correlation < 1 and axis != "skip":
                tally.add(name, f"{quantity} is told", POWER, claim.estimate is not None)


@scenario
def scaling(rng: np.random.Generator, tally: Tally) -> None:
    """Errors that fall as a power of depth to a floor, over six and ten depths."""
    ladders = {6: (8, 14, 26, 50, 98, 194), 10: (8, 12, 18, 26, 38, 56, 80, 118, 170, 250)}
    for count, depths in ladders.items():
        for exponent, is_equal in ((0.7, True), (0.7, False), (1.5, True)):
            error = 0.05 + 0.3 * (np.array(depths) / 8) ** -exponent
            spread = np.full(count, 0.004) if is_equal else 0.04 * error
            networks = [{"depth": one, "skip": "none", "width": 16} for one in depths]
            evidence = of_table(trained(rng, networks, 1 - error, spread, 3))
            (claim,) = claimed(evidence, "scaling", "scaling_fit")
            name = f"{count} depths, exponent {exponent}, {'equal' if is_equal else 'unequal'}"
            tally.add(name, "is fitted", POWER, claim.estimate is not None)
            if claim.estimate is not None:
                tally.add(name, "exponent", COVERAGE, holds(claim, exponent))
                tally.add(name, "floor", COVERAGE, claim.more["floor_low"] <= 0.05 <= claim.more["floor_high"])


@scenario
def search(rng: np.random.Generator, tally: Tally) -> None:
    """A search of 150 networks in which doubling MACs and one skip style pay, and the block and the width do not."""
    count, effect = 150, {"none": 0.0, "identity": 0.02}
    macs = 2.0 ** rng.uniform(20, 26, count)
    networks = [
        {
            "name": f"network {at}",
            "depth": int(one),
            "width": int(rng.integers(8, 400)),
            "macs": int(cost),
            "skip": str(rng.choice(list(effect))),
            "block": str(rng.choice(["basic", "bottleneck"])),
        }
        for at, (one, cost) in enumerate(zip(2.0 ** rng.uniform(3, 7, count), macs, strict=True))
    ]
    own = 0.01 * rng.standard_normal(count)
    truth = 0.8 + 0.008 * np.log2(macs / 2.0**23) + [effect[one["skip"]] for one in networks] + own
    evidence = replace(of_table(trained(rng, networks, truth, DEVIATION, 1)), is_search=True)
    for claim in claimed(evidence, "trends", "quantile_trend"):
        name, share = f"quantile {claim.subject['share']:g}", claim.subject["share"]
        if claim.subject["axis"] == "macs":
            tally.add(name, "trend along MACs", COVERAGE, holds(claim, _planted_trend(share, *_ends(macs))))
        else:
            tally.add(name, f"trend along {claim.subject['axis']}, which has none", FALSE, claim.p <= 0.05)
    for claim in claimed(evidence, "axes", "axis_importance"):
        for axis, found in claim.more.get("importances", {}).items():
            kind = POWER if axis == "skip" else FALSE if axis in ("block", "width") else "of old"
            if kind != "of old":
                tally.add(f"among {claim.subject['among']}", f"{axis} sets networks apart", kind, found["p"] <= 0.05)
    for claim in claimed(evidence, "axes", "ablation_path"):
        for step in claim.more.get("steps", []):
            if "skip" in step["axes"]:
                sign = 1 if step["after"] == "identity" else -1
                tally.add("path to the best", "step of the skip", COVERAGE, step["low"] <= 0.02 * sign <= step["high"])


def _ends(macs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the MACs of the least and of the greatest third."""
    ordered = np.sort(macs)
    return ordered[: len(macs) // 3], ordered[-(len(macs) // 3) :]


def _planted_trend(share: float, least: np.ndarray, greatest: np.ndarray) -> float:
    """Return the difference of the quantile of error between thirds of these MACs, over all networks of such MACs."""
    at = []
    for macs in (greatest, least):
        rng = np.random.default_rng(0)
        drawn = rng.choice(np.log2(macs), 40_000)
        score = 0.8 + 0.008 * (drawn - 23) + 0.02 * rng.integers(0, 2, len(drawn))
        score += np.hypot(0.01, DEVIATION) * rng.standard_normal(len(drawn))
        at.append(float(np.quantile(1 - score, share)))
    return at[0] - at[1]


@scenario
def studies(rng: np.random.Generator, tally: Tally) -> None:
    """Two studies of eight networks: the second is 0.03 lower, and what skips change there is 0.01 less."""
    depths, skips = (8, 20, 44, 110), ("none", "identity")
    networks = [{"depth": depth, "skip": skip, "width": 16} for depth in depths for skip in skips]
    for case, collapsed in (("like networks", 0.0), ("plain ones collapse in one", 0.4)):
        first = np.array([0.9 if skip == "none" else 0.91 for _ in depths for skip in skips])
        second = np.array([0.87 - collapsed if skip == "none" else 0.87 for _ in depths for skip in skips])
        for seeds in (2, 3, 5):
            spread = [DEVIATION * (10 if level < 0.6 else 1) for level in second]
            parts = {"old": of_table(trained(rng, networks, first, DEVIATION, seeds))}
            parts["new"] = of_table(trained(rng, networks, second, spread, seeds))
            both, name = side_by_side(parts), f"{case}, {seeds} seeds"
            (mean,) = claimed(both, "agreement", "mean_difference")
            tally.add(name, "mean difference", COVERAGE, holds(mean, float((second - first).mean())))
            each = zip(claimed(both, "network_by_network", "difference"), second - first, strict=True)
            tally.add(name, "all networks together", COVERAGE, all(holds(claim, gap) for claim, gap in each))
            gaps = [second[at + 1] - second[at] - first[at + 1] + first[at] for at in range(0, 8, 2)][::-1]
            each = zip(claimed(both, "choices", "difference_of_differences"), gaps, strict=True)
            tally.add(name, "what skips change, all together", COVERAGE, all(holds(claim, gap) for claim, gap in each))
    for count in (200, 2000):
        parts, truths = {}, {}
        for study in ("old", "new"):
            parts[study], truths[study] = _scored(rng, count, 3)
        (mean,) = claimed(side_by_side(parts), "agreement", "mean_difference")
        gap = np.mean(list(truths["new"].values())) - np.mean(list(truths["old"].values()))
        tally.add(f"other {count:,} examples, 3 seeds", "mean difference", COVERAGE, holds(mean, float(gap)))


@scenario
def examples(rng: np.random.Generator, tally: Tally) -> None:
    """Networks scored on the same 200 or 2,000 examples, some of which are hard for all of them."""
    for count in (200, 2000):
        for seeds in (2, 3, 5):
            found, truth = _scored(rng, count, seeds)
            for what, evidence in (("seeds and examples", found), ("seeds alone", replace(found, correct=_unknown))):
                kind = COVERAGE if evidence is found else "of old"
                for claim in claimed(evidence, "comparisons", "difference"):
                    planted = truth[claim.subject["depth"], "identity"] - truth[claim.subject["depth"], "none"]
                    tally.add(f"{count:,} examples, {seeds} seeds", f"over {what}", kind, holds(claim, planted))


def _unknown(network: int) -> None:
    return None


def _scored(rng: np.random.Generator, count: int, seeds: int) -> tuple[Evidence, dict[tuple[int, str], float]]:
    """Return evidence with which examples each seed had right, and the accuracies over all seeds and examples.

    A seed has an example right if its ability, less the example's difficulty (shared by all networks, and in part the
    network's own), is above chance: a probit model, so that the true accuracy is known in closed form.
    """
    shared, own, of_seed = 1.5, 0.5, 0.08
    ability = {(8, "none"): 1.6, (8, "identity"): 1.7, (56, "none"): 1.0, (56, "identity"): 2.0}
    difficulty, rows, bits = shared * rng.standard_normal(count), [], []
    for (layers, skip), mean in ability.items():
        network = difficulty + own * rng.standard_normal(count)
        levels = mean + of_seed * rng.standard_normal((seeds, 1))
        bits.append(levels - network + rng.standard_normal((seeds, count)) > 0)
        rows += [
            {"depth": layers, "skip": skip, "width": 16, "seed": seed, "val_accuracy": float(score)}
            for seed, score in enumerate(bits[-1].mean(axis=1))
        ]
    evidence = of_table(pd.DataFrame(rows), examples=count)
    total = np.sqrt(1 + shared**2 + own**2 + of_seed**2)
    truth = {key: float(special.ndtr(mean / total)) for key, mean in ability.items()}
    return replace(evidence, correct=lambda network: bits[network]), truth


def verdict(kind: str, mean: float) -> str:
    """Return whether a quantity is on target; nothing where it has none."""
    if kind == COVERAGE:
        return "short" if mean < 0.93 else "wide" if mean > 0.97 else "met"
    if kind == FALSE:
        return "met" if mean <= 0.05 else "missed"
    if kind.startswith("bias"):
        return "met" if abs(mean) <= (0.2 if "hard" in kind else 0.1) else "missed"
    return ""


def run(name: str, repetitions: int, seed: int) -> dict[str, Any]:
    """Repeat a scenario; returns a row for each case and quantity, and prints it."""
    tally, began = Tally(), time.perf_counter()
    for repetition in range(repetitions):
        SCENARIOS[name](np.random.default_rng([sum(name.encode()), repetition + 1_000_000 * seed]), tally)
    rows = []
    for (case, quantity, kind), values in tally.counted.items():
        mean, error = float(np.mean(values)), float(np.std(values) / np.sqrt(len(values)))
        row = {"case": case, "quantity": quantity, "kind": kind, "value": mean, "standard_error": error}
        rows.append({**row, "count": len(values), "verdict": verdict(kind, mean)})
        print(f"{name:<11}{case:<44}{quantity:<36}{kind:<14}{mean:>7.3f}  {rows[-1]['verdict']}", flush=True)
    return {"repetitions": repetitions, "seed": seed, "seconds": round(time.perf_counter() - began, 1), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--repetitions", type=int, default=500, help="of each scenario [500]")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=0, help="constants were chosen with 0; others are fresh draws [0]")
    arguments = parser.parse_args()
    path = RESULTS / "planted_truth.json"
    found = json.loads(path.read_text())["scenarios"] if path.exists() else {}
    for name in arguments.only:
        found[name] = run(name, arguments.repetitions, arguments.seed)
        command = f"python benchmarks/planted_truth.py --repetitions {arguments.repetitions} --seed {arguments.seed}"
        save("planted_truth", {"command": command, "scenarios": found})


if __name__ == "__main__":
    main()
