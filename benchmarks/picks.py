"""Do picks keep their limits, and what is predicted of them? Small searches on digits, verified on fresh seeds.

Five searches of 32 networks (28 proposed, and four that are named: ResNet-20, and ResNet shapes at half its width), two
seeds each, in different spaces and on different splits of scikit-learn's digits. For each of them:

- predictions: under each of nine limits (or none) the best predicted network that was not taken yet is trained on two
  fresh seeds; counted is how many reach an accuracy within the predicted 90 % interval. Picks were chosen for what was
  predicted of them: intervals made for networks drawn at random (`surrogate.py`) do not promise as much. Those of one
  study share what it learned, so that the interval over all picks (Clopper-Pearson, as if they were independent) is
  narrower than it should be; the counts of each study stand beside it.
- limits: twelve budgets, two of each of six kinds. What the pick has is counted anew, by hooks on the built module
  (parameters, multiply-accumulates, activations); a limit of training memory is checked by its formula with those
  counts, and the memory measured beside it; a limit of latency is that of a named network, and both are measured again
  in turn.
- named networks: of those within the same limit, none must have a higher estimate in the study (latencies differ from
  one measurement to the next: a named network may be within the limit here and not when it was picked); and since the
  pick was chosen by that estimate, all picks and named networks are trained on five fresh seeds. The pick is beaten
  where the 95 % interval of the difference, paired by seed, lies below zero.

What is in `--out` is not run again, so that a run which was cut off goes on.

    python benchmarks/picks.py [--out runs/picks] [--only families stages]
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import save
from scipy.stats import binomtest
from torch import nn

from ressearch import Architecture, Study, build, cost, load, measure_latency, measure_memory, resume, run
from ressearch.networks.cost import Budget
from ressearch.picking.pick import Pick, picks
from ressearch.picking.prediction import Predicted, predict, verify
from ressearch.search.cluster import start_ray
from ressearch.statistics.intervals import mean_interval

FAMILY = {"blocks_per_stage": {"low": 1, "high": 4}, "width": {"low": 4, "high": 16}}

STUDIES: dict[str, tuple[dict[str, Any], str]] = {
    "families": ({**FAMILY, "block": ["basic", "bottleneck"], "skip": ["none", "identity"]}, "random"),
    "stages": ({"depths": {"low": 1, "high": 4}, "widths": {"low": 4, "high": 32, "step": 2}}, "random"),
    "styles": ({**FAMILY, "kernel_size": [1, 3], "norm_order": ["post", "pre"], "activation": ["relu", "silu"]}, "tpe"),
    "inverted": ({**FAMILY, "block": ["inverted", "fused_inverted"], "se_ratio": [0.0, 0.25]}, "tpe"),
    "norms": ({**FAMILY, "norm": ["batch", "group", "none"], "skip": ["none", "identity", "rezero"]}, "random"),
}
"""The space and the sampler of each study."""

NAMED = (
    "resnet20-cifar",
    "basic-d3.3.3-w8.16.32",
    "basic-d2.2.2-w8.16.32",
    "basic-d1.1.1-w8.16.32",
)
"""Networks that every study trains first: a preset, and ResNet-20, -14 and -8 at half the width."""

PROPOSED, FRESH = 28, (100, 101, 102, 103, 104)

COUNTS = ("params", "macs", "activations", "size", "training_memory")
"""What limits bound, besides latency."""


def study(name: str, **search: Any) -> Study:
    """Return one of the studies, or with other networks and seeds in its place."""
    space, sampler = STUDIES[name]
    seeds = search.pop("seeds", 2)
    recipe = {"epochs": 4, "batch_size": 64, "lr": 0.1, "gradient_clip": 1.0, "seeds": seeds}
    section = {"trials": len(NAMED) + PROPOSED, "sampler": sampler, "points": list(NAMED), **search}
    return Study.from_dict(
        {
            "name": f"picks-{name}",
            "seed": list(STUDIES).index(name),
            "space": {"search": {"stages": 3, **space}},
            "recipe": recipe,
            "search": section,
            "resources": {"cpus_per_trial": 1},
        }
    )


def trained(planned: Study, directory: Path) -> Path:
    """Run a study, or go on with what there is of it; returns its directory."""
    if (directory / "run.json").is_file():
        resume(directory)
    else:
        run(planned, directory)
    return directory


def counted(network: Architecture, shape: Sequence[int], classes: int) -> dict[str, int]:
    """Return the parameters, MACs and activations of one input that hooks count on the built module."""
    found = {"params": 0, "macs": 0, "activations": 0}

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        found["activations"] += output.numel()
        if isinstance(module, nn.Conv2d | nn.Linear):
            found["macs"] += output.numel() * (module.weight[0].numel() + (module.bias is not None))

    module = build(network, input_channels := shape[0], classes).eval()
    assert input_channels == shape[0]
    found["params"] = sum(one.numel() for one in module.parameters())
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear | nn.MaxPool2d):
            part.register_forward_hook(hook)
    with torch.inference_mode():
        module(torch.zeros(1, *shape))
    return found


def values(network: Architecture, like: dict[str, Any]) -> dict[str, int]:
    """Return what each limit but latency's bounds, from counts on the built module."""
    found = counted(network, like["shape"], like["classes"])
    saved = cost(network, tuple(like["shape"]), like["classes"]).saved
    momentum = 1
    memory = 4 * found["params"] * (2 + momentum) + 4 * like["batch_size"] * saved
    return {**found, "size": 4 * found["params"], "training_memory": memory}


def predictions(directory: Path, costs: dict[str, list[int]], like: dict[str, Any]) -> list[dict[str, Any]]:
    """Verify the best predicted network of each limit that none before it took."""
    cases: list[tuple[str, float, str]] = [
        ("none", 1.0, "expected"),
        ("params", 0.3, "expected"),
        ("macs", 0.3, "expected"),
        ("macs", 0.6, "expected"),
        ("activations", 0.5, "expected"),
        ("size", 0.6, "expected"),
        ("training_memory", 0.4, "expected"),
        ("none", 1.0, "lower"),
        ("macs", 0.5, "lower"),
    ]
    taken: dict[str, tuple[Predicted, dict[str, Any]]] = {}
    for kind, share, by in cases:
        limit = None if kind == "none" else quantile(costs[kind], share)
        bounds: Any = {} if limit is None else {f"max_{kind}": limit}
        ranked = predict(directory, len(taken) + 1, by=by, candidates=20_000, **bounds).picks
        one = next((one for one in ranked if one.architecture.name not in taken), None)
        if one is None:
            continue
        has = values(one.architecture, like).get(kind)
        taken[one.architecture.name] = one, {"limit": kind, "bound": limit, "has": has, "by": by}
    obtained = verify(directory, tuple(one for one, _ in taken.values()))
    return [
        {**taken[one.name][1], **asdict(one), "holds": one.holds, "keeps": bound is None or has <= bound}
        for one in obtained
        for bound, has in [(taken[one.name][1]["bound"], taken[one.name][1]["has"])]
    ]


def quantile(costs: Sequence[int], share: float) -> int:
    """Return the cost below or at which so large a share of networks is: that of one of them."""
    return int(np.quantile(costs, share, method="lower"))


def budgets(
    costs: dict[str, list[int]], preset: dict[str, Any], latencies: dict[str, float]
) -> list[tuple[str, float]]:
    """Return twelve limits: what four in ten networks keep, what the preset has, latencies of two named networks."""
    counts = [(kind, bound) for kind in COUNTS for bound in (quantile(costs[kind], 0.4), preset[kind])]
    of_latency = sorted(latencies.values())
    return [*counts, ("latency", of_latency[1]), ("latency", of_latency[2])]


def score(one: Pick) -> float:
    """Return what a pick is ranked by."""
    return one.val_accuracy if one.estimate is None else one.estimate


def in_turn(networks: Sequence[Architecture], shape: tuple[int, ...], classes: int) -> list[float]:
    """Return the latency of each network, the median of five measurements in turn: others may use the machine too."""
    found = [
        [measure_latency(one, shape, classes, batch_size=1, threads=1).median for one in networks] for _ in range(5)
    ]
    return [float(one) for one in np.median(found, axis=0)]


def kept(directory: Path, costs: dict[str, list[int]], like: dict[str, Any]) -> list[dict[str, Any]]:
    """Pick within each of the twelve budgets; say what the picks have, and which named networks fit too."""
    every = {one.architecture.name: one for one in picks(directory, 1000).picks}
    named = {name: Architecture.from_name(name) for name in NAMED}
    shape, classes = tuple(like["shape"]), like["classes"]
    latencies = {
        name: measure_latency(network, shape, classes, batch_size=1, threads=1).median
        for name, network in named.items()
    }
    have = {name: {**values(network, like), "latency": latencies[name]} for name, network in named.items()}
    rows = []
    for kind, bound in budgets(costs, have[NAMED[0]], latencies):
        is_time = kind == "latency"
        limit: Any = {f"max_{kind}": 1e3 * bound if is_time else bound}
        pick = picks(directory, 1, threads=1, **limit).picks[0]
        if is_time:
            whose = next(one for one, latency in latencies.items() if latency == bound)
            has, again = in_turn([pick.architecture, named[whose]], shape, classes)
        else:
            has, again = values(pick.architecture, like)[kind], bound
        fits = [name for name in NAMED if have[name][kind] <= bound and named[name].name in every]
        row = {
            "limit": kind,
            "bound": bound,
            "pick": pick.architecture.name,
            "has": has,
            "ratio": has / again,
            "candidates": pick.candidates,
            "tied": len(pick.tied),
            "estimate": score(pick),
            "named": [
                {
                    "name": name,
                    "network": named[name].name,
                    "estimate": score(every[named[name].name]),
                    "is_tied": named[name].name in pick.tied,
                }
                for name in fits
            ],
        }
        if kind == "training_memory":
            row["measured"] = measure_memory(pick.architecture, shape, classes, batch_size=like["batch_size"])
        rows.append(row)
    return rows


def against_named(name: str, rows: list[dict[str, Any]], out: Path) -> list[dict[str, Any]]:
    """Train picks and named networks on fresh seeds; returns each pick beside each other network that fits its limit.

    A pick that several limits share is compared once with each.
    """
    pairs = {(row["pick"], other["network"]): other["name"] for row in rows for other in row["named"]}
    pairs = {pair: named for pair, named in pairs.items() if pair[0] != pair[1]}
    networks = list(dict.fromkeys(network for pair in pairs for network in pair))
    planned = study(name, seeds=list(FRESH), points=networks, trials=len(networks), sampler="random")
    trials = load(trained(planned, out / f"{name}-fresh")).trials
    reached = {row["name"]: np.array(row["seed_val_accuracies"], float) for row in trials.to_dict("records")}
    found = []
    for (pick, other), named in pairs.items():
        gain = mean_interval(reached[pick] - reached[other])
        accuracies = {"pick_accuracy": float(reached[pick].mean()), "named_accuracy": float(reached[other].mean())}
        found.append(
            {"pick": pick, "named": named, **accuracies, "gain": gain.mean, "low": gain.low, "high": gain.high}
        )
    return found


def cached(file: Path, find: Callable[[], Any]) -> Any:
    """Return what a file holds, or find it out and write it there."""
    if not file.is_file():
        file.write_text(json.dumps(find(), indent=2))
    return json.loads(file.read_text())


def recorded(directory: Path) -> tuple[dict[str, list[int]], dict[str, Any]]:
    """Return what a study's networks cost, by kind of limit, and what counts depend on besides the network."""
    results = load(directory)
    done = results.trials[results.trials["status"] == "completed"]
    shape, classes = tuple(results.run["input_shape"]), results.run["num_classes"]
    budget = Budget(batch_size=64, optimizer_states=1)
    prices = [cost(Architecture.from_name(one), shape, classes) for one in done["name"].unique()]
    costs = {kind: [budget.value(one, kind) for one in prices] for kind in COUNTS}
    counts = {"trials": len(results.trials), "completed": len(done)}
    return costs, {"shape": shape, "classes": classes, "batch_size": 64, "counts": counts}


def predicted(name: str, out: Path) -> dict[str, Any]:
    """Run a study and verify what is predicted from it."""
    costs, like = recorded(trained(study(name), out / name))
    return {"sampler": STUDIES[name][1], **like["counts"], "predictions": predictions(out / name, costs, like)}


def within(name: str, out: Path) -> list[dict[str, Any]]:
    """Return what `kept` does, of a study that was run."""
    return kept(out / name, *recorded(out / name))


def summary(studies: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the counts over all studies that have them yet."""

    def over(part: str) -> list[dict[str, Any]]:
        return [one for study in studies.values() for one in study.get(part, ())]

    parts = {"predictions": of_predictions, "budgets": of_budgets, "fresh": of_fresh}
    of_studies = {part: sum(part in study for study in studies.values()) for part in parts}
    counts = {part: count(over(part)) for part, count in parts.items() if over(part)}
    return {part: {"studies": of_studies[part], **found} for part, found in counts.items()}


def of_predictions(said: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many verified picks reached what was predicted, and how far off they were."""
    held = sum(one["holds"] for one in said)
    interval = binomtest(held, len(said)).proportion_ci(0.95, method="exact")
    return {
        "verified": len(said),
        "held": held,
        "share": held / len(said),
        "interval": [float(interval.low), float(interval.high)],
        "below": sum(one["val_accuracy"] < one["low"] for one in said),
        "above": sum(one["val_accuracy"] > one["high"] for one in said),
        "width": float(np.mean([one["high"] - one["low"] for one in said])),
        "error": float(np.mean([abs(one["val_accuracy"] - one["mean"]) for one in said])),
        "bias": float(np.mean([one["val_accuracy"] - one["mean"] for one in said])),
        "keep_their_limit": sum(one["keeps"] for one in said),
    }


def of_budgets(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many picks keep their limits, and how they stand beside the named networks that fit too."""
    pairs = [(row, other) for row in rows for other in row["named"]]
    exact = [one for one in rows if one["limit"] != "latency"]
    ratios = [one["ratio"] for one in rows if one["limit"] == "latency"]
    return {
        "budgets": len(rows),
        "counted": len(exact),
        "counted_keep": sum(one["has"] <= one["bound"] for one in exact),
        "latency_ratios": [min(ratios), float(np.median(ratios)), max(ratios)],
        "pairs": len(pairs),
        "higher": sum(other["estimate"] > row["estimate"] for row, other in pairs if row["limit"] != "latency"),
        "higher_by_latency": sum(
            other["estimate"] > row["estimate"] for row, other in pairs if row["limit"] == "latency"
        ),
        "is_pick": sum(other["network"] == row["pick"] for row, other in pairs),
    }


def of_fresh(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how many picks are shown to be better, or worse, than a named network within the same limit."""
    return {
        "compared": len(pairs),
        "better": sum(one["low"] > 0 for one in pairs),
        "worse": sum(one["high"] < 0 for one in pairs),
        "gain": float(np.mean([one["gain"] for one in pairs])) if pairs else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/picks"), help="what is there goes on [runs/picks]")
    parser.add_argument("--only", nargs="*", choices=list(STUDIES), default=list(STUDIES), help="some of the studies")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    start_ray()
    out: Path = arguments.out
    studies: dict[str, dict[str, Any]] = {}

    def keep() -> None:
        is_complete = all("fresh" in studies.get(name, {}) for name in STUDIES)
        told = {"command": "python benchmarks/picks.py", "is_complete": is_complete, "summary": summary(studies)}
        save("picks", {**told, "studies": studies})

    print(f"{'study':<12}{'sampler':>9}{'trials':>8}{'verified':>10}{'held':>6}{'width':>8}")
    for name in arguments.only:
        studies[name] = cached(out / f"{name}-predictions.json", functools.partial(predicted, name, out))
        one = of_predictions(studies[name]["predictions"])
        print(
            f"{name:<12}{studies[name]['sampler']:>9}{studies[name]['trials']:>8}{one['verified']:>10}{one['held']:>6}"
            f"{one['width']:>8.3f}",
            flush=True,
        )
        keep()
    print(f"{'study':<12}{'budgets':>8}{'counted':>9}{'keep':>6}{'pairs':>7}{'higher':>8}")
    for name in arguments.only:
        studies[name]["budgets"] = cached(out / f"{name}-budgets.json", functools.partial(within, name, out))
        one = of_budgets(studies[name]["budgets"])
        print(
            f"{name:<12}{one['budgets']:>8}{one['counted']:>9}{one['counted_keep']:>6}{one['pairs']:>7}"
            f"{one['higher']:>8}",
            flush=True,
        )
        keep()
    print(f"{'study':<12}{'compared':>9}{'better':>8}{'worse':>7}{'gain':>9}")
    for name in arguments.only:
        find = functools.partial(against_named, name, studies[name]["budgets"], out)
        studies[name]["fresh"] = cached(out / f"{name}-fresh.json", find)
        one = of_fresh(studies[name]["fresh"])
        print(f"{name:<12}{one['compared']:>9}{one['better']:>8}{one['worse']:>7}{one['gain']:>+9.4f}", flush=True)
        keep()
    print(json.dumps(summary(studies), indent=2))


if __name__ == "__main__":
    main()
