"""The figures of a report. Each maker draws one and says in a sentence, computed from the data, what it shows.

To add a plot, write a maker here under ``@plot``; the page finds it.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from ressearch.reporting.figures import (
    PRE,
    Plot,
    accuracy_axis,
    colours,
    count_axis,
    depth_axis,
    panels,
    plot,
    skip_label,
)
from ressearch.reporting.statistics import difference_interval, mean_interval, pareto_front
from ressearch.results import Results
from ressearch.results.aggregate import replicates
from ressearch.results.ranking import Objective
from ressearch.results.schema import macs_trained
from ressearch.results.status import Status
from ressearch.units import format_count


def depth_table(results: Results, score: str = "val_accuracy") -> pd.DataFrame:
    """Return, for each skip style and depth, the best completed trial and its mean and interval over seeds.

    A grid over both norm orders has its pre-activation networks as styles of their own (a plain network is the same in
    either order: it stands there once).

    Columns: skip, depth, trials (how many compete), trial, name, params, macs, seeds, mean, low, high.
    """
    objective = Objective.of(results.run)
    done = replicates(results)
    done = done[done["status"] == Status.COMPLETED]
    if results.run["study"]["space"]["grid"] is not None and done["norm_order"].nunique() > 1:
        is_pre = done["norm_order"] == "pre"
        done = done[~is_pre | (done["skip"] != "none")]
        done = done.assign(skip=done["skip"].where(done["norm_order"] != "pre", done["skip"] + PRE))
    rows = []
    for (skip, depth), cell in done.groupby(["skip", "depth"], sort=True):
        means = cell.groupby("trial")[objective.column].mean()
        best = means.idxmax() if objective.is_more else means.idxmin()
        chosen = cell[cell["trial"] == best]
        interval = mean_interval(chosen[score].to_list())
        first = chosen.iloc[0]
        rows.append(
            {
                "skip": skip,
                "depth": depth,
                "trials": cell["trial"].nunique(),
                "trial": best,
                "name": first["name"],
                "params": first["params"],
                "macs": first["macs"],
                "seeds": interval.n,
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return pd.DataFrame(rows)


@plot("depth_accuracy")
def depth_accuracy(results: Results) -> Plot | None:
    """Depth against validation and training accuracy, one line per skip style, intervals over seeds."""
    table = depth_table(results)
    if table.empty or table["depth"].nunique() < 2:
        return None
    is_best_of_many = bool((table["trials"] > 1).any())
    chance = 1 / results.run["num_classes"]
    figure, (left, right) = panels(2)
    for axes, score, label in (
        (left, "val_accuracy", "validation accuracy"),
        (right, "train_accuracy", "training accuracy"),
    ):
        _depth_lines(axes, depth_table(results, score))
        if is_best_of_many:
            others = results.trials[results.trials["status"] == Status.COMPLETED]
            axes.scatter(others["depth"], others[score], s=12, color="0.6", zorder=1, label="other networks")
        depth_axis(axes, table["depth"].unique().tolist())
        accuracy_axis(axes, label, chance)
    if table["skip"].nunique() > _INSIDE:
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    else:
        left.legend(title="skip connection", loc="best", frameon=True)
    chosen = (
        " Where several networks share a depth, the line takes the best by validation accuracy."
        if is_best_of_many
        else ""
    )
    return Plot(
        "depth_accuracy",
        "Depth versus accuracy",
        _depth_sentence(results, table),
        "Points are means over seeds after the last epoch; bars are 95 % intervals (Student t over seeds, "
        f"{_seeds(table)}). Right: the same networks on their training data.{chosen} The dotted line is chance.",
        figure,
        _deepest_comparison(results, table) if table["skip"].nunique() > _INSIDE else "",
    )


_INSIDE = 4
"""Styles that a legend inside a panel, and a sentence on each at the head of the report, has room for."""


def _depth_lines(axes: Axes, table: pd.DataFrame) -> None:
    palette = colours(sorted(table["skip"].unique()))
    for place, (skip, line) in enumerate(table.groupby("skip")):
        # A slight shift keeps the intervals of two styles apart where they overlap.
        depth = line["depth"] * 1.015 ** (place - (table["skip"].nunique() - 1) / 2)
        bars = [
            (line["mean"] - line["low"]).fillna(0),
            (line["high"].clip(upper=1) - line["mean"]).fillna(0).clip(lower=0),
        ]
        axes.errorbar(
            depth,
            line["mean"],
            yerr=bars,
            color=palette[str(skip)],
            marker="o",
            markersize=6,
            linewidth=2,
            capsize=4,
            label=skip_label(str(skip)),
            zorder=3,
        )


def _depth_sentence(results: Results, table: pd.DataFrame) -> str:
    parts = []
    for skip, line in sorted(table.groupby("skip"), key=lambda pair: (pair[0] != "none", pair[0])):
        line = line.sort_values("depth")
        low, high = line.iloc[0], line.iloc[-1]
        if len(line) < 2:
            continue
        change = difference_interval(_values(results, high["trial"]), _values(results, low["trial"]))
        verb = "falls" if change.high < 0 else "rises" if change.low > 0 else "goes"
        extra = "" if verb != "goes" else ", a change its seeds cannot tell from none" if change.n > 1 else ", one seed"
        parts.append(
            f"with skip {skip_label(str(skip))} accuracy {verb} from {low['mean']:.3f} at depth {low['depth']} "
            f"to {high['mean']:.3f} at depth {high['depth']}{extra}"
        )
    sentence = "; ".join(parts)
    sentence = (
        f"{sentence[:1].upper()}{sentence[1:]}." if sentence else "Each skip style was trained at one depth only."
    )
    sentence += f" Chance is {1 / results.run['num_classes']:.3f}."
    return " ".join([sentence, _deepest_comparison(results, table)]).strip()


def _deepest_comparison(results: Results, table: pd.DataFrame) -> str:
    """Compare plain and residual networks at the greatest depth that both have."""
    by_skip = {str(skip): line.set_index("depth") for skip, line in table.groupby("skip")}
    others = [skip for skip in by_skip if skip != "none"]
    if "none" not in by_skip or not others:
        return ""
    best = "identity" if "identity" in others else others[0]
    common = sorted(set(by_skip["none"].index) & set(by_skip[best].index))
    if not common:
        return ""
    depth = common[-1]
    trials = [by_skip[skip].loc[depth, "trial"] for skip in (best, "none")]
    gap = difference_interval(*(_values(results, trial) for trial in trials))
    spread = f"95 % interval {gap.low:+.3f} to {gap.high:+.3f}, Welch" if gap.n > 1 else "one seed each, no interval"
    return f"At depth {depth} the difference between {best} and plain is {gap.mean:+.3f} ({spread})."


def _values(results: Results, trial: int) -> list[float]:
    row = results.trials.set_index("trial").loc[trial]
    return list(row["seed_val_accuracies"])


def _seeds(table: pd.DataFrame) -> str:
    counts = sorted(table["seeds"].unique())
    return (
        f"{counts[0]} seeds"
        if counts == [counts[0]] and counts[0] > 1
        else ("one seed, so no bars" if counts == [1] else f"{counts[0]} to {counts[-1]} seeds")
    )


@plot("cost_accuracy")
def cost_accuracy(results: Results) -> Plot | None:
    """Validation accuracy against MACs and parameters, with the Pareto front."""
    done = results.trials[results.trials["status"] == Status.COMPLETED]
    if len(done) < 2:
        return None
    figure, axes = panels(2)
    palette = colours(sorted(done["skip"].unique()))
    for place, (panel, cost, label) in enumerate(
        zip(axes, ("macs", "params"), ("MACs per input (FLOPs = 2 × MACs)", "parameters"), strict=True)
    ):
        front = pareto_front(done, cost, "val_accuracy")
        panel.step(
            front[cost],
            front["val_accuracy"],
            where="post",
            color="0.25",
            linewidth=1.4,
            zorder=1,
            label="Pareto front",
        )
        for skip, points in done.groupby("skip"):
            reach = [mean_interval(list(values)).half_width for values in points["seed_val_accuracies"]]
            panel.errorbar(
                points[cost],
                points["val_accuracy"],
                yerr=[0 if math.isnan(one) else one for one in reach],
                fmt="o",
                markersize=6,
                color=palette[str(skip)],
                elinewidth=0.9,
                alpha=0.85,
                label=skip_label(str(skip)),
            )
        low = done["val_accuracy"].min()
        panel.set_ylim(bottom=max(0.0, low - 0.08 * (1.02 - low)), top=1.02)
        count_axis(panel, label)
        accuracy_axis(panel, "validation accuracy" if place == 0 else "")
    axes[0].legend(loc="best", frameon=True)
    front = pareto_front(done, "macs", "val_accuracy")
    cheap, best = front.iloc[0], front.iloc[-1]
    sentence = (
        f"The most accurate network, {best['name']}, reaches {best['val_accuracy']:.3f} with "
        f"{format_count(best['macs'])} MACs and {format_count(best['params'])} parameters"
    )
    near = front[front["val_accuracy"] >= best["val_accuracy"] - 0.01].iloc[0]
    if near["trial"] != best["trial"]:
        sentence += (
            f"; {near['name']} comes within {best['val_accuracy'] - near['val_accuracy']:.3f} of it "
            f"for {near['macs'] / best['macs']:.0%} of the MACs"
        )
    elif cheap["trial"] != best["trial"]:
        sentence += "; no cheaper network comes within 0.01 of it"
    return Plot(
        "cost_accuracy",
        "Accuracy versus cost",
        f"{sentence}. {len(front)} of {len(done)} fully trained networks are on the front of accuracy against MACs.",
        "Each point is a network trained to the last epoch, mean over seeds with its 95 % interval. A network is on "
        "the Pareto front if none that costs no more is more accurate.",
        figure,
    )


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
    figure, (panel,) = panels(1)
    for phase, (spent, reached) in lines.items():
        colour = sns.color_palette("colorblind")[0 if phase == "search" else 7]
        label = "search" if phase == "search" else "random, every epoch trained"
        panel.step(spent, reached, where="post", linewidth=2, color=colour, label=label)
    panel.set_xlabel("MACs trained (every trial and seed)")
    panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(EngFormatter(places=None, sep=""))
    if objective.column == "val_accuracy":
        accuracy_axis(panel, "best validation accuracy so far")
    else:
        panel.set_ylabel(f"best {objective.words} so far")
    sampler = (results.run["study"]["search"]["sampler"] or {"name": "tpe"})["name"]
    spent, reached = lines["search"]
    sentence = f"The search ({sampler}) trained {spent.iloc[-1]:.3g} MACs and reached {reached.iloc[-1]:.3f}"
    if "baseline" in lines:
        figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
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
        "The best mean over seeds among networks trained to the last epoch. MACs of stopped, diverged and failed "
        "trials count; a backward pass counts as two forward ones.",
        figure,
    )


def _macs_trained(results: Results, trials: pd.DataFrame) -> pd.Series:
    """Return the MACs that trials trained, also of those whose end was not recorded."""
    rows: list[Any] = trials.to_dict("records")
    examples = results.run["examples"]["train"]
    return pd.Series([macs_trained(row, examples, row["epochs"]) for row in rows], index=trials.index, dtype="float64")


_HIGHLIGHTED = 8


@plot("learning_curves")
def learning_curves(results: Results) -> Plot | None:
    """Validation accuracy epoch by epoch: one panel per skip style, one line per network."""
    if results.curves.empty:
        return None
    trials = results.trials[results.trials["epochs"] > 0].set_index("trial")
    curves = results.curves.groupby(["trial", "epoch"])["val_accuracy"].agg(["mean", "min", "max"]).reset_index()
    skips = sorted(trials["skip"].unique(), key=lambda name: (name != "none", name))
    figure, axes = panels(len(skips), height=4.4)
    by_depth = sorted(trials["depth"].unique())
    is_depth_study = len(trials) <= _HIGHLIGHTED * len(skips) and trials.groupby(["skip", "depth"]).size().max() == 1
    objective = Objective.of(results.run)
    best = trials.sort_values(objective.column, ascending=not objective.is_more).index
    ramp = sns.color_palette("viridis", len(by_depth) if is_depth_study else _HIGHLIGHTED)
    for panel, skip in zip(axes, skips, strict=True):
        ours = [trial for trial in best if trials.loc[trial, "skip"] == skip]
        shown = ours if is_depth_study else ours[: _HIGHLIGHTED // 2]
        for trial in ours:
            line = curves[curves["trial"] == trial]
            if trial not in shown:
                panel.plot(line["epoch"], line["mean"], color="0.8", linewidth=0.8, zorder=1)
                continue
            depth = trials.loc[trial, "depth"]
            colour = ramp[by_depth.index(depth) if is_depth_study else shown.index(trial) * 2]
            label = f"depth {depth}" if is_depth_study else str(trials.loc[trial, "name"]).removesuffix(f"+skip={skip}")
            panel.plot(line["epoch"], line["mean"], color=colour, linewidth=1.8, label=label, zorder=3)
            panel.fill_between(line["epoch"], line["min"], line["max"], color=colour, alpha=0.15, linewidth=0)
        panel.set_title(f"skip: {skip_label(skip)}", fontsize="medium")
        panel.set_xlabel("epoch")
        panel.set_ylim(0, 1.02)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = panel.get_legend_handles_labels()
        order = (
            sorted(range(len(labels)), key=lambda i: int(labels[i].split()[1]))
            if is_depth_study
            else range(len(labels))
        )
        panel.legend(
            [handles[i] for i in order],
            [labels[i] for i in order],
            loc="lower right",
            frameon=True,
            fontsize="small",
        )
    axes[0].set_ylabel("validation accuracy")
    return Plot(
        "learning_curves",
        "Learning curves",
        _curve_sentence(results, trials, curves),
        "Lines are means over seeds, bands reach from the lowest to the highest seed"
        + ("." if is_depth_study else "; grey lines are the other networks, ending where the scheduler stopped them."),
        figure,
    )


def _curve_sentence(results: Results, trials: pd.DataFrame, curves: pd.DataFrame) -> str:
    target = 0.9 * trials["val_accuracy"].max()
    reached = curves[curves["mean"] >= target].groupby("trial")["epoch"].min()
    parts = []
    for skip, group in trials.groupby("skip"):
        ours = reached[reached.index.isin(group.index)]
        first = f", the first after epoch {ours.min()}" if len(ours) else ""
        parts.append(f"{len(ours)} of {len(group)} networks with skip {skip_label(str(skip))}{first}")
    return (
        f"A validation accuracy of {target:.2f} (nine tenths of the best final one) was reached by {'; '.join(parts)}."
    )
