"""The figures of a report: each maker draws one from the evidence, and the page finds it.

To add a figure, write a maker under ``@figure`` (of a study or any table) or ``@plot`` (of a study's results alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from ressearch.reporting.charts import cost_curve, depth_curve, difference_curve, error_distribution, learning_curves
from ressearch.reporting.claims.claim import Claim
from ressearch.reporting.claims.comparisons import compared, comparisons
from ressearch.reporting.claims.lines import DepthLine, depth_lines
from ressearch.reporting.evidence import COST_WORDS, COSTS, Evidence
from ressearch.reporting.figures import SOFT, Draw, Plot, accuracy_axis, colours, count_axis, figure, plot, skip_label
from ressearch.results import Results
from ressearch.results.ranking import Objective
from ressearch.results.schema import macs_trained
from ressearch.results.status import Status
from ressearch.statistics.intervals import pareto_front
from ressearch.units import format_count

_TOGETHER = 4
"""Lines that one panel has room for; more get a panel each (small multiples)."""

PANELS = 16
"""Panels of small multiples at most."""


def palette_of(evidence: Evidence) -> dict[str, Any]:
    """Return the colour of each value of what is compared, the same in every figure; none if nothing is."""
    hue = compared(evidence)
    if hue is None:
        return {}
    return colours(sorted((str(one) for one in evidence.networks[hue].unique()), key=lambda one: (one != "none", one)))


def seeds_table(evidence: Evidence) -> pd.DataFrame:
    """Return one row for each network and seed with the networks' columns."""
    kept = [key for key in evidence.networks if key not in ("lr", "objective")]
    return evidence.replicates.merge(evidence.networks[kept], on="network")


@figure("depth_accuracy")
def depth_accuracy(evidence: Evidence) -> Plot | None:
    """Depth against validation and training accuracy, a line for each kind of network that differs in depth alone."""
    found = depth_lines(evidence)
    if not found:
        return None
    table = _lines_table(evidence, found)
    hue = choice if (choice := compared(evidence)) in found[0].subject else None
    palette = palette_of(evidence) if hue else None
    named = sorted(table["line"].unique(), key=lambda one: [line.label for line in found].index(one))
    single = hue is not None and len(named) == table[hue].nunique()
    both = bool(evidence.train_scores)
    if len(named) <= _TOGETHER and (single or len(named) == 1 or hue is None):
        key = hue if single else "line"
        chosen = palette if single else colours(named)
        scores = ("val_accuracy", "train_accuracy") if both else ("val_accuracy",)
        drawers: list[Draw] = [
            partial(_depth_panel, table=table, y=y, hue=key, palette=chosen, chance=evidence.chance, legend=at == 0)
            for at, y in enumerate(scores)
        ]
    else:
        base = table[table["line"] == named[0]]
        drawers = [
            partial(
                _multiple,
                table=table[table["line"] == name],
                base=base,
                name=name,
                hue=hue,
                palette=palette,
                whole=table,
            )
            for name in named[:PANELS]
        ]
    return Plot(
        "depth_accuracy",
        "Depth versus accuracy",
        "",
        "Points are means over seeds after the last epoch; bars are 95 % Student intervals of each mean alone"
        + (", over seeds; the statements beside it hold together and are wider." if len(found) else ".")
        + (" The second panel shows the same networks on their training data." if len(drawers) == 2 and both else "")
        + (f" Grey: {named[0]}, in every panel." if len(drawers) > 2 else "")
        + (" The dotted line is chance." if evidence.chance else ""),
        panels=tuple(drawers),
        about="depth",
    )


def _lines_table(evidence: Evidence, found: Sequence[DepthLine]) -> pd.DataFrame:
    table = seeds_table(evidence)
    of_line = {network: line.label for line in found for network in line.networks}
    table = table[table["network"].isin(of_line)]
    return table.assign(line=table["network"].map(of_line))


def _depth_panel(
    axes: Axes, *, table: pd.DataFrame, y: str, hue: str | None, palette: Any, chance: float | None, legend: bool
) -> None:
    depth_curve(table, y=y, hue=hue, palette=palette, ax=axes)
    accuracy_axis(axes, f"{'training' if 'train' in y else 'validation'} accuracy", chance)
    if legend:
        with_legend(axes)


def _multiple(
    axes: Axes,
    *,
    table: pd.DataFrame,
    base: pd.DataFrame,
    name: str,
    hue: str | None,
    palette: Any,
    whole: pd.DataFrame,
) -> None:
    if base["line"].iloc[0] != name:
        means = base.groupby("depth")["val_accuracy"].mean()
        axes.plot(means.index, means.to_numpy(), color=SOFT, linewidth=1.2, alpha=0.6)
    depth_curve(table, hue=hue, palette=palette, ax=axes)
    means = whole.groupby("network")["val_accuracy"].mean()
    margin = 0.08 * (means.max() - means.min())
    axes.set_ylim(max(0.0, means.min() - margin), min(1.02, means.max() + margin))
    accuracy_axis(axes, "validation accuracy")
    axes.set_title(name[:1].upper() + name[1:], fontsize="medium", loc="left")


def with_legend(axes: Axes) -> None:
    """Put a legend above the axes, where there are no data."""
    handles, labels = axes.get_legend_handles_labels()
    kept = [
        (handle, label) for handle, label in zip(handles, labels, strict=True) if label and not label.startswith("_")
    ]
    if not kept or (len(kept) == 1 and kept[0][1] == ""):
        return
    columns = 2 if max(len(label) for _, label in kept) > 14 else 3
    axes.legend(
        [handle for handle, _ in kept],
        [label for _, label in kept],
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        frameon=False, fontsize="small", borderaxespad=0.2, columnspacing=1.2, handletextpad=0.4,
    )  # fmt: skip


@figure("differences")
def differences(evidence: Evidence) -> Plot | None:
    """The difference to the control at each depth, with intervals that hold together at a depth."""
    claims = [one for one in comparisons(evidence) if one.low is not None and "depth" in one.subject]
    choice = compared(evidence)
    if choice is None or len({one.subject["depth"] for one in claims}) < 2:
        return None
    rows = [
        {
            "depth": one.subject["depth"],
            "choice": str(one.subject[choice]) + (", pre-activation" if one.subject.get("norm_order") == "pre" else ""),
            "estimate": one.estimate,
            "low": one.low,
            "high": one.high,
        }
        for one in claims
    ]
    table = pd.DataFrame(rows).drop_duplicates(["depth", "choice"])
    names = sorted(table["choice"].unique())
    base = palette_of(evidence)
    fresh = colours(names)
    palette = {name: base.get(name, fresh[name]) for name in names}

    def panel(part: list[str]) -> Draw:
        def draw(axes: Axes) -> None:
            difference_curve(table[table["choice"].isin(part)], hue="choice", palette=palette, ax=axes)
            handles, labels = axes.get_legend_handles_labels()
            for handle, label in zip(handles, labels, strict=True):
                handle.set_label(skip_label(label) if choice == "skip" else label)
            axes.set_ylabel(f"difference to {_against(claims[0], choice)}")
            with_legend(axes)

        return draw

    parts = [names] if len(names) <= _TOGETHER else [names[at : at + 3] for at in range(0, len(names), 3)]
    return Plot(
        "differences",
        "What the choice changes at each depth",
        "",
        f"Difference in validation accuracy to {_against(claims[0], choice)} of the same depth; bars are 95 % "
        "intervals that hold together for all comparisons at a depth.",
        panels=tuple(panel(part) for part in parts),
        about="comparisons",
    )


def _against(claim: Claim, choice: str) -> str:
    value = str(claim.subject["against"])
    return "plain networks" if choice == "skip" and value == "none" else value.replace("_", " ")


@figure("cost_accuracy")
def cost_accuracy(evidence: Evidence) -> Plot | None:
    """Validation accuracy against MACs, parameters and, where it was measured, latency, with the Pareto front."""
    costs = [key for key in ("macs", "params", "latency") if _is_known(evidence, key)]
    if not costs or len(evidence.networks) < 2:
        return None
    table, hue, palette = seeds_table(evidence), compared(evidence), palette_of(evidence)

    def panel(cost: str, place: int) -> Draw:
        def draw(axes: Axes) -> None:
            cost_curve(table, x=cost, hue=hue, palette=palette, ax=axes)
            if place == 0:
                with_legend(axes)

        return draw

    claims = [_front(evidence, costs[0])]
    many = (
        " Grey squares count networks; the front and the ten best are points." if len(evidence.networks) > 400 else ""
    )
    return Plot(
        "cost_accuracy",
        "Accuracy versus cost",
        "",
        "Each point is a network trained to the last epoch, its mean over seeds. A network is on the Pareto "
        "front if none that "
        "costs no more has a higher mean; means are not the networks' true accuracies, so the front is too "
        f"high.{many}",
        panels=tuple(panel(cost, place) for place, cost in enumerate(costs)),
        claims=tuple(claims),
    )


def _is_known(evidence: Evidence, cost: str) -> bool:
    return (
        cost in evidence.networks
        and bool(evidence.networks[cost].notna().all())
        and evidence.networks[cost].nunique() > 1
    )


def _front(evidence: Evidence, cost: str) -> Claim:
    """Say how many networks are on the front, and which is the cheapest within 0.01 of the highest mean."""
    table = evidence.networks.assign(score=evidence.mean)
    front = pareto_front(table, cost, "score")
    best, words = front.iloc[-1], COST_WORDS[cost]
    near = front[front["score"] >= best["score"] - 0.01].iloc[0]
    sentence = (
        f"{len(front)} of {len(table)} networks are on the front of mean accuracy against {words}. The highest mean, "
        f"{best['score']:.3f}, is that of {best['name']} with {format_count(int(best[cost]))} {words}"
    )
    if near["network"] != best["network"]:
        sentence += (
            f"; {near['name']} is within {best['score'] - near['score']:.3f} of it for "
            f"{near[cost] / best[cost]:.0%} of the {words}."
        )
    else:
        sentence += "; no cheaper network has a mean within 0.01 of it."
    return Claim(
        "pareto_front",
        {"cost": cost},
        len(front),
        None,
        None,
        "non-dominated means over seeds; descriptive, the choice among many not corrected for",
        len(table),
        sentence,
        more={"networks": [int(one) for one in front["network"]], "near": str(near["name"])},
    )


@figure("error_distribution")
def error_distributions(evidence: Evidence) -> Plot | None:
    """The distribution of error over networks, for each value of what is compared."""
    if depth_lines(evidence) or len(evidence.networks) < 20:
        return None
    table, hue, palette = seeds_table(evidence), compared(evidence), palette_of(evidence)

    def draw(axes: Axes) -> None:
        error_distribution(table, hue=hue, palette=palette, ax=axes)
        with_legend(axes)

    drawers: list[Draw] = [draw]
    cost = next((key for key in COSTS if _is_known(evidence, key)), None)
    if cost is not None and len(evidence.networks) >= 40:
        drawers.append(partial(_quantiles, evidence=evidence, cost=cost))
    return Plot(
        "error_distribution",
        "The population of networks",
        "",
        "The share of networks whose error is below each value, with a band that holds along the whole curve "
        "with 95 % confidence "
        "(numbers of networks in brackets). How a search drew its networks shapes these curves: adaptive "
        "samplers draw where others were good."
        + (" Second panel: quantiles of error among the networks of each fifth of cost." if len(drawers) > 1 else ""),
        panels=tuple(drawers),
        about="populations",
    )


def _quantiles(axes: Axes, *, evidence: Evidence, cost: str) -> None:
    score = evidence.mean
    costs = evidence.networks[cost].to_numpy(dtype=float)
    groups = np.array_split(np.argsort(costs), 5)
    at = [float(np.exp(np.log(costs[group]).mean())) for group in groups]
    for share, width in ((0.5, 1.8), (0.1, 1.8), (0.9, 1.0)):
        values = [float(np.quantile(1 - score[group], share)) for group in groups]
        axes.plot(at, values, marker="o", markersize=4, linewidth=width, label=f"{share:.0%} of networks are below")
    count_axis(axes, {"macs": "MACs per input", "params": "parameters"}.get(cost, cost))
    axes.set_ylabel("error (1 − accuracy)")
    axes.set_ylim(bottom=0)
    with_legend(axes)


@plot("best_so_far", phases=("search", "baseline"))
def best_so_far(results: Results) -> Plot | None:
    """The best network so far against the MACs trained: the search beside the random baseline."""
    trials = results.trials
    if trials.empty or results.run["study"]["space"]["grid"] is not None:
        return None
    objective = Objective.of(results.run)
    lines = {}
    for phase, group in trials.groupby("phase"):
        ended = group[group["epochs"] > 0].sort_values("ended_at")
        is_done = ended["status"] == Status.COMPLETED
        if not is_done.any():
            continue
        spent = _macs_trained(results, ended).cumsum()
        values = ended[objective.column].where(is_done)
        lines[str(phase)] = (spent, (values.cummax() if objective.is_more else values.cummin()).ffill())
    if "search" not in lines or len(trials) < 4:
        return None

    def draw(axes: Axes) -> None:
        palette = colours(["identity", "random"])
        for phase, (spent, reached) in lines.items():
            colour = palette["identity" if phase == "search" else "random"]
            label = "search" if phase == "search" else "random, every epoch trained"
            axes.step(spent, reached, where="post", linewidth=2, color=colour, label=label)
        axes.set_xlabel("MACs trained (every trial and seed)")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(EngFormatter(places=None, sep=""))
        if objective.column == "val_accuracy":
            accuracy_axis(axes, "best validation accuracy so far")
        else:
            axes.set_ylabel(f"best {objective.words} so far")
        if len(lines) > 1:
            with_legend(axes)

    sampler = (results.run["study"]["search"]["sampler"] or {"name": "tpe"})["name"]
    spent, reached = lines["search"]
    sentence = f"The search ({sampler}) trained {spent.iloc[-1]:.3g} MACs and reached {reached.iloc[-1]:.3f}"
    if "baseline" in lines:
        at, other = lines["baseline"]
        sentence += f"; {at.iloc[-1]:.3g} MACs on networks drawn at random reached {other.iloc[-1]:.3f}"
        first = at[~other.map(lambda value: objective.is_better(reached.iloc[-1], value)) & other.notna()]
        if not first.empty:
            sentence += f", and the search's best after {first.iloc[0]:.3g}"
        sentence += ". This is one run of each, not a test of one against the other"
    return Plot(
        "best_so_far",
        "What the search reached for the MACs it trained",
        f"{sentence}.",
        "The best mean over seeds among networks trained to the last epoch: means flattered by the choice. MACs "
        "of stopped, diverged and failed trials count; a backward pass counts as two forward ones.",
        panels=(draw,),
    )


def _macs_trained(results: Results, trials: pd.DataFrame) -> pd.Series:
    """Return the MACs that trials trained, also of those whose end was not recorded."""
    rows: list[Any] = trials[["macs", "epochs", "seeds"]].to_dict("records")
    examples = results.run["examples"]["train"]
    return pd.Series([macs_trained(row, examples, row["epochs"]) for row in rows], index=trials.index, dtype="float64")


_HIGHLIGHTED = 5
_CURVES = 150
"""Curves that a panel draws at most: the best, and every so-manieth of the others."""


@plot("learning_curves")
def learning_curve_panels(results: Results) -> Plot | None:
    """Validation accuracy epoch by epoch: one panel for each skip style, one line for each network."""
    if results.curves.empty:
        return None
    trials = results.trials[results.trials["epochs"] > 0].set_index("trial")
    objective = Objective.of(results.run)
    best = trials.sort_values(objective.column, ascending=not objective.is_more)
    skips = sorted(trials["skip"].unique(), key=lambda name: (name != "none", name))[:8]
    is_depth_study = trials.groupby(["skip", "norm_order", "depth"]).size().max() == 1

    def panel(skip: str) -> Draw:
        ours = best[best["skip"] == skip]
        shown = list(ours.index) if is_depth_study and len(ours) <= 9 else list(ours.index[:_HIGHLIGHTED])
        others = [one for one in ours.index if one not in shown]
        others = others[:: max(1, len(others) // _CURVES)]
        labels = {
            int(trial): _curve_label(ours, trial)
            if is_depth_study
            else f"trial {trial}, depth {ours.loc[trial, 'depth']}"
            for trial in shown
        }
        depths = dict(zip(ours.index, ours["depth"].tolist(), strict=True))
        shown.sort(key=lambda trial: depths[trial])
        curves = results.curves[results.curves["trial"].isin([*shown, *others])]

        def draw(axes: Axes) -> None:
            learning_curves(curves, highlight=shown, labels=labels, ax=axes)
            axes.set_ylim(0, 1.02)
            axes.set_ylabel("validation accuracy")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.text(
                1.0, 0.02, skip_label(skip), transform=axes.transAxes, ha="right", fontweight="bold", fontsize="small"
            )
            with_legend(axes)

        return draw

    means = results.curves.groupby(["trial", "epoch"])["val_accuracy"].mean().reset_index()
    return Plot(
        "learning_curves",
        "Learning curves",
        _curve_sentence(trials, means),
        "Lines are means over seeds, bands reach from the lowest to the highest seed"
        + ("." if is_depth_study else "; grey lines are other networks, ending where the scheduler stopped them."),
        panels=tuple(panel(str(skip)) for skip in skips),
    )


def _curve_label(trials: pd.DataFrame, trial: int) -> str:
    row: Any = trials.loc[trial]
    orders = trials["norm_order"].nunique() > 1 and row["norm_order"] == "pre"
    return f"depth {row['depth']}{', pre-activation' if orders else ''}"


def _curve_sentence(trials: pd.DataFrame, means: pd.DataFrame) -> str:
    target = 0.9 * trials["val_accuracy"].max()
    reached = means[means["val_accuracy"] >= target].groupby("trial")["epoch"].min()
    parts = []
    for skip, group in trials.groupby("skip"):
        ours = reached[reached.index.isin(group.index)]
        first = f", the first after epoch {ours.min()}" if len(ours) else ""
        parts.append(f"{len(ours)} of {len(group)} networks with skip {skip_label(str(skip))}{first}")
    return (
        f"A validation accuracy of {target:.2f} (nine tenths of the best final one) was reached by {'; '.join(parts)}."
    )
