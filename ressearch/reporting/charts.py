"""Charts of a tidy table, in seaborn's manner: each takes a table and column names, draws on axes, and returns them.

The table is that of a study's trials (`ressearch.load(directory).trials`), or any table with one row for each network
and seed. Public as `ressearch.plots`.

Example:
    >>> import pandas as pd
    >>> from ressearch import plots
    >>> table = pd.DataFrame({
    ...     "depth": [8, 8, 20, 20], "skip": "identity", "seed": [0, 1, 0, 1], "val_accuracy": [0.90, 0.91, 0.93, 0.92]
    ... })
    >>> plots.depth_curve(table, hue="skip").get_xlabel()
    'depth (weighted layers)'
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from ressearch.errors import StudyError, nearest
from ressearch.reporting.figures import (
    INK,
    SOFT,
    accuracy_axis,
    colours,
    count_axis,
    depth_axis,
    panels,
    skip_label,
    tag,
)
from ressearch.results.status import Status
from ressearch.statistics.intervals import Interval, mean_interval, pareto_front

_MANY = 400
"""Networks above which a chart shows their density, with the front and the best on top."""


def seeds_of(trials: pd.DataFrame, y: str = "val_accuracy") -> pd.DataFrame:
    """Return one row for each network and seed, with the networks' columns and `y`.

    Args:
        trials: a study's trials, of which those that trained every epoch count; or a table that has such rows already.
        y: ``val_accuracy``, ``test_accuracy`` or any other column of a table that has such rows already.

    Raises:
        StudyError: the table has no such column.
    """
    lists = f"seed_{y.removesuffix('y')}ies"
    if lists not in trials or "status" not in trials:
        _require(trials, y)
        return trials
    done = trials[trials["status"] == Status.COMPLETED]
    columns = [key for key in done if key not in (y, "seeds", "seed_val_accuracies", "seed_test_accuracies")]
    long = done[columns].assign(seed=done["seeds"], **{y: done[lists]})
    return long.explode(["seed", y], ignore_index=True).astype({y: float})


def _require(table: pd.DataFrame, *columns: str | None) -> None:
    for one in columns:
        if one is not None and one not in table:
            raise StudyError(f"the table has no column {one!r}; {nearest(one, table.columns)}")


def _axes(ax: Axes | None) -> Axes:
    return ax if ax is not None else panels(1)[1][0]


def _groups(table: pd.DataFrame, hue: str | None) -> list[tuple[str, pd.DataFrame]]:
    if hue is None:
        return [("", table)]
    groups: list[tuple[Hashable, pd.DataFrame]] = list(table.groupby(hue, sort=True, dropna=False))
    return sorted(((str(name), group) for name, group in groups), key=lambda pair: (pair[0] != "none", pair[0]))


def depth_curve(
    trials: pd.DataFrame,
    *,
    x: str = "depth",
    y: str = "val_accuracy",
    hue: str | None = "skip",
    palette: dict[str, Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw depth against accuracy: means over seeds with 95 % Student intervals, one line for each value of `hue`.

    Only networks that differ in `x` alone are joined: where several share `x` and `hue`, they are points.

    Args:
        trials: a study's trials, or one row for each network and seed.
        x: column of depths, above zero.
        y: column of accuracies.
        hue: column whose values get a line each; None draws one.
        palette: colour of each value of `hue`.
        ax: where to draw [a new figure].

    Returns:
        The axes.

    Raises:
        StudyError: the table lacks a column.
    """
    _require(trials, x, hue)
    table, axes = seeds_of(trials, y), _axes(ax)
    network = _network_key(table, {x, y, *([hue] if hue else [])})
    groups = _groups(table, hue)
    chosen = palette or colours([name for name, _ in groups])
    for place, (name, group) in enumerate(groups):
        points = _means(group, [x, *network], y)
        shift = 1.012 ** (place - (len(groups) - 1) / 2)
        at = points[x].to_numpy(dtype=float) * shift
        joined = not points[x].duplicated().any()
        mean = points["mean"].to_numpy()
        low, high = points["low"].to_numpy(), points["high"].to_numpy()
        colour = chosen.get(name, INK)
        bars = np.nan_to_num(np.array([mean - np.maximum(low, 0), np.minimum(high, 1) - mean]), nan=0.0).clip(min=0)
        axes.errorbar(at, mean, yerr=bars, color=colour, fmt="none", capsize=3, linewidth=1.2, zorder=2)
        if joined:
            axes.plot(at, mean, color=colour, linewidth=1.8, zorder=3)
        marks = axes.scatter(at, mean, color=[colour], s=30, zorder=4, label=_label(hue, name), edgecolors="none")
        if "network" in points:
            tag(marks, points["network"])
    depth_axis(axes, sorted(table[x].unique()))
    axes.set_ylabel(_words(y))
    _within(axes, 0.0, 1.0)
    return axes


def _words(column: str) -> str:
    return {"val_accuracy": "validation accuracy", "train_accuracy": "training accuracy"}.get(
        column, column.replace("_", " ")
    )


def _network_key(table: pd.DataFrame, used: set[str]) -> list[str]:
    for key in ("network", "trial", "name"):
        if key in table and key not in used:
            return [key]
    return []


def _means(table: pd.DataFrame, keys: list[str], y: str) -> pd.DataFrame:
    """Return the mean of each group with its interval, as columns mean, low, high, seeds."""
    rows = []
    groups: list[tuple[Any, pd.Series]] = list(table.groupby(keys, sort=True)[y])
    for values, group in groups:
        found: Interval = mean_interval(group.to_list())
        values = values if isinstance(values, tuple) else (values,)
        rows.append(
            {
                **dict(zip(keys, values, strict=True)),
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "seeds": found.n,
            }
        )
    return pd.DataFrame(rows)


def _label(hue: str | None, name: str) -> str:
    return "" if hue is None else skip_label(name) if hue == "skip" else name


def _within(axes: Axes, low: float, high: float) -> None:
    """Cut the vertical axis to what can occur."""
    bottom, top = axes.get_ylim()
    margin = 0.02 * (high - low)
    axes.set_ylim(max(bottom, low - margin), min(top, high + margin))


def difference_curve(
    differences: pd.DataFrame,
    *,
    x: str = "depth",
    hue: str | None = "skip",
    palette: dict[str, Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw differences to a reference with their intervals, against depth.

    Args:
        differences: one row for each comparison, with columns `x`, `hue`, ``estimate``, ``low`` and ``high``.
        x: column of depths.
        hue: column whose values get a line each.
        palette: colour of each value of `hue`.
        ax: where to draw [a new figure].

    Returns:
        The axes.

    Raises:
        StudyError: the table lacks a column.
    """
    _require(differences, x, hue, "estimate", "low", "high")
    axes = _axes(ax)
    groups = _groups(differences, hue)
    chosen = palette or colours([name for name, _ in groups])
    axes.axhline(0, color=SOFT, linewidth=1, zorder=1)
    for place, (name, group) in enumerate(groups):
        group = group.sort_values(x)
        at = group[x].to_numpy(dtype=float) * 1.012 ** (place - (len(groups) - 1) / 2)
        value = group["estimate"].to_numpy(dtype=float)
        ends = group[["low", "high"]].to_numpy(dtype=float)
        bars = np.nan_to_num(np.array([value - ends[:, 0], ends[:, 1] - value]), nan=0.0).clip(min=0)
        axes.errorbar(
            at, value, yerr=bars, color=chosen.get(name, INK), marker="o", markersize=5, linewidth=1.6, capsize=3,
            label=_label(hue, name), zorder=3,
        )  # fmt: skip
    depth_axis(axes, sorted(differences[x].unique()))
    axes.set_ylabel("difference in accuracy")
    _within(axes, -1.0, 1.0)
    return axes


_COST_LABELS = {
    "macs": "MACs per input (FLOPs = 2 × MACs)",
    "params": "parameters",
    "latency": "latency of one input, seconds",
}


def cost_curve(
    trials: pd.DataFrame,
    *,
    x: str = "macs",
    y: str = "val_accuracy",
    hue: str | None = "skip",
    log_error: bool | None = None,
    palette: dict[str, Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw cost against accuracy, or against error in logarithms, with the Pareto front.

    Above 400 networks, their density is drawn, and the front and the ten best on top of it.

    Args:
        trials: a study's trials, or one row for each network and seed.
        x: column of costs, above zero.
        y: column of accuracies.
        hue: column whose values get a colour each; None draws all alike.
        log_error: draw 1 - accuracy on a logarithmic axis [where the worst error is five times the median,
            or the best a fifth of it].
        palette: colour of each value of `hue`.
        ax: where to draw [a new figure].

    Returns:
        The axes.

    Raises:
        StudyError: the table lacks a column.
    """
    _require(trials, x, hue)
    table, axes = seeds_of(trials, y), _axes(ax)
    keys = _network_key(table, {x, y}) or [x, *([hue] if hue else [])]
    first = {key: (key, "first") for key in {x, *([hue] if hue else [])} - set(keys)}
    means = table.groupby(keys, as_index=False, sort=False, dropna=False).agg(mean=(y, "mean"), **first)
    error = 1 - means["mean"]
    if log_error is None:
        log_error = _wants_logarithm(error)
    shown = means.assign(shown=error.clip(lower=_least_error(error)) if log_error else means["mean"])
    front = pareto_front(means, x, "mean")
    axes.step(
        front[x],
        shown.loc[front.index, "shown"],
        where="post",
        color=SOFT,
        linewidth=1.3,
        zorder=2,
        label="Pareto front",
    )
    groups = _groups(shown, hue)
    chosen = palette or colours([name for name, _ in groups])
    if len(shown) > _MANY:
        _density(axes, shown[x].to_numpy(dtype=float), shown["shown"].to_numpy(dtype=float), log_error)
        top = set(shown.nlargest(10, "mean").index) | set(front.index)
        groups = [(name, group[group.index.isin(top)]) for name, group in groups]
    for name, group in groups:
        if len(group):
            marks = axes.scatter(
                group[x],
                group["shown"],
                s=26,
                color=[chosen.get(name, INK)],
                label=_label(hue, name),
                zorder=4,
                alpha=0.9,
                linewidths=0,
            )
            if "network" in group:
                tag(marks, group["network"])
    count_axis(axes, _COST_LABELS.get(x, x.replace("_", " ")))
    if log_error:
        error_axis(axes)
    else:
        accuracy_axis(axes, _words(y))
        _within(axes, 0.0, 1.0)
    return axes


def _wants_logarithm(error: pd.Series | np.ndarray) -> bool:
    """Return whether errors differ so much that a linear axis would hide how the good ones differ."""
    middle = float(np.median(error))
    return len(error) > 4 and bool(
        0 < np.min(error) < 0.2 * middle or (np.min(error) > 0 and np.max(error) > 5 * middle)
    )


def _least_error(error: pd.Series) -> float:
    above = error[error > 0]
    return float(above.min()) / 2 if len(above) else 1e-4


def _density(axes: Axes, x: np.ndarray, y: np.ndarray, log_y: bool) -> None:
    """Draw how many networks lie where, as a grid of greys."""
    rows, columns = 40, 60
    across = np.geomspace(x.min() * 0.99, x.max() * 1.01, columns + 1)
    up = (
        np.geomspace(y.min() * 0.99, y.max() * 1.01, rows + 1)
        if log_y
        else np.linspace(y.min() - 1e-9, y.max() + 1e-9, rows + 1)
    )
    counts, _, _ = np.histogram2d(x, y, [across, up])
    shade = np.where(counts > 0, np.log1p(counts), np.nan)
    axes.pcolormesh(
        across, up, shade.T, cmap="Greys", vmin=-1.0, vmax=float(np.nanmax(shade)) * 1.3, zorder=0, rasterized=True
    )


def error_axis(axes: Axes, which: str = "y") -> None:
    """Make an axis a logarithmic one of errors, marked at 1, 2 and 5 times powers of ten."""
    getattr(axes, f"set_{which}scale")("log")
    low, high = getattr(axes, f"get_{which}lim")()
    one = getattr(axes, f"{which}axis")
    ticks = [error for error in _ERRORS if low <= error <= min(high, 1.0)]
    one.set_major_locator(FixedLocator(ticks))
    one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    one.set_minor_locator(NullLocator())
    one.set_minor_formatter(NullFormatter())
    getattr(axes, f"set_{which}lim")(low, min(high, 1.0))
    getattr(axes, f"set_{which}label")("error (1 − accuracy), logarithmic")


_ERRORS = [one * 10**power for power in range(-5, 0) for one in (1, 2, 5)] + [1.0]


def error_distribution(
    trials: pd.DataFrame,
    *,
    y: str = "val_accuracy",
    hue: str | None = "skip",
    palette: dict[str, Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of networks whose error is below each value, with a 95 % band (Radosavovic et al. 2019).

    The band is Dvoretzky, Kiefer and Wolfowitz's, which holds along the whole curve.

    Args:
        trials: a study's trials, or one row for each network and seed.
        y: column of accuracies.
        hue: column whose values get a curve each; None draws one.
        palette: colour of each value of `hue`.
        ax: where to draw [a new figure].

    Returns:
        The axes.

    Raises:
        StudyError: the table lacks a column.
    """
    _require(trials, hue)
    table, axes = seeds_of(trials, y), _axes(ax)
    keys = _network_key(table, {y}) + ([hue] if hue else [])
    means = table.groupby(keys, as_index=False, dropna=False)[y].mean() if keys else table
    groups = _groups(pd.DataFrame(means), hue)
    chosen = palette or colours([name for name, _ in groups])
    for name, group in groups:
        error = np.sort(1 - group[y].to_numpy(dtype=float))
        if len(error) > _MANY:
            error = np.quantile(error, np.linspace(0, 1, _MANY))
        share = np.arange(1, len(error) + 1) / len(error)
        reach = np.sqrt(np.log(2 / 0.05) / (2 * len(group)))
        colour = chosen.get(name, INK)
        axes.step(
            error,
            share,
            where="post",
            color=colour,
            linewidth=1.8,
            label=f"{_label(hue, name) or 'networks'} ({len(group)})",
        )
        axes.fill_between(
            error,
            (share - reach).clip(0),
            (share + reach).clip(max=1),
            step="post",
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
    axes.set_ylabel("share of networks below")
    axes.set_ylim(0, 1.02)
    if _wants_logarithm(1 - means[y].to_numpy(dtype=float)):
        error_axis(axes, "x")
    else:
        axes.set_xlabel("error (1 − accuracy)")
        axes.set_xlim(left=0)
    return axes


def learning_curves(
    curves: pd.DataFrame,
    *,
    y: str = "val_accuracy",
    highlight: Sequence[int] = (),
    labels: dict[int, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw learning curves, epoch by epoch: means over seeds, with a band from the lowest to the highest seed.

    Args:
        curves: one row for each trial, seed and epoch, as `ressearch.load(directory).curves`.
        y: column to draw.
        highlight: trials in colour; the others are grey. None highlighted draws all in colour.
        labels: of highlighted trials.
        ax: where to draw [a new figure].

    Returns:
        The axes.

    Raises:
        StudyError: the table lacks a column.
    """
    _require(curves, "trial", "epoch", y)
    axes = _axes(ax)
    means = curves.groupby(["trial", "epoch"])[y].agg(["mean", "min", "max"]).reset_index()
    shown = list(highlight) or list(dict.fromkeys(means["trial"]))
    ramp = colours([str(one) for one in shown]) if len(shown) <= 9 else {}
    others = means[~means["trial"].isin(shown)]
    faint = [line.to_numpy() for _, line in others.groupby("trial")[["epoch", "mean"]]]
    axes.add_collection(LineCollection(faint, colors=SOFT, linewidths=0.7, alpha=0.35, zorder=1))
    axes.autoscale_view()
    grouped: list[tuple[Any, pd.DataFrame]] = list(means[means["trial"].isin(shown)].groupby("trial"))
    for trial, line in grouped:
        colour = ramp.get(str(trial), INK)
        label = (labels or {}).get(int(trial), f"trial {trial}")
        axes.plot(line["epoch"], line["mean"], color=colour, linewidth=1.7, label=label, zorder=3)
        axes.fill_between(line["epoch"], line["min"], line["max"], color=colour, alpha=0.13, linewidth=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel(_words(y))
    if "accuracy" in y:
        _within(axes, 0.0, 1.0)
    return axes


__all__ = ["cost_curve", "depth_curve", "difference_curve", "error_distribution", "learning_curves"]
