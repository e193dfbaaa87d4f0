"""What every figure of a report shares: the registry, the style, colours and sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ressearch.errors import StudyError
from ressearch.registry import Registry
from ressearch.results import Results
from ressearch.units import format_count


@dataclass(frozen=True)
class Plot:
    """A figure with its title, the sentence that says what it shows (computed from the data), and how to read it.

    Attributes:
        name: of its files.
        title: its heading.
        sentence: what it shows.
        caption: how to read it.
        figure: the figure.
        headline: what the report's first sentence takes from it; empty takes `sentence`.
    """

    name: str
    title: str
    sentence: str
    caption: str
    figure: Figure
    headline: str = ""


Maker = Callable[[Results], Plot | None]

PLOTS: Registry[Maker] = Registry("plots", StudyError, "plot {name} is unknown")
"""Every plot by name, in the order of the report; a maker returns None where the study has nothing to show."""


def plot(name: str, phases: tuple[str, ...] = ("search",), *, replace: bool = False) -> Callable[[Maker], Maker]:
    """Register a maker as plot `name`; it is given the results of these phases of the study."""

    def make(maker: Maker) -> Maker:
        return lambda results: maker(results.phase(*phases))

    return PLOTS.register(name, make=make, replace=replace)


@contextmanager
def style() -> Iterator[None]:
    """Apply the report's look within the block."""
    settings = {"axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "ressearch"}
    with sns.axes_style("whitegrid", settings), sns.plotting_context("notebook", font_scale=0.95):
        yield


def panels(count: int, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels side by side, each the same size."""
    figure = Figure(figsize=(5.6 * count if count > 1 else 7.2, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)
    return figure, list(axes[0])


def colours(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Return one colour-blind-safe colour a name; the plain network is always the same vermilion."""
    palette = sns.color_palette("colorblind", 10)
    others = [index for index in (0, 2, 4, 1, 5, 6, 8, 9, 7) if index != 3]
    chosen: dict[str, tuple[float, float, float]] = {}
    for name in names:
        chosen[name] = palette[3] if name == "none" else palette[others[len(chosen) % len(others)]]
    return chosen


PRE = ", pre-activation"
"""Follows the name of a skip style where pre-activation networks stand apart."""


def skip_label(name: str) -> str:
    """Return a skip style as a legend says it."""
    return {"none": "none (plain)", "identity": "identity (residual)"}.get(name, name.replace("_", " "))


def depth_axis(axes: Axes, depths: Sequence[int]) -> None:
    """Make x a logarithmic depth axis with a tick at (a readable choice of) the depths that were trained."""
    axes.set_xscale("log")
    kept: list[int] = []
    for depth in sorted(depths):
        if not kept or depth >= 1.18 * kept[-1]:
            kept.append(depth)
    axes.set_xticks(kept, [str(depth) for depth in kept])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("depth (weighted layers)")


def count_axis(axes: Axes, label: str) -> None:
    """Make x a logarithmic axis of counts, written 100k, 1M, …"""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)


def accuracy_axis(axes: Axes, label: str, chance: float | None = None) -> None:
    """Label y as an accuracy, with chance level drawn where the axis reaches it."""
    axes.set_ylabel(label)
    axes.set_ylim(top=min(1.02, axes.get_ylim()[1]))
    if chance is not None and chance > axes.get_ylim()[0]:
        axes.axhline(chance, color="0.55", linestyle=":", linewidth=1.2)
        axes.annotate(
            "chance",
            (0.01, chance),
            xycoords=("axes fraction", "data"),
            ha="left",
            va="bottom",
            fontsize="small",
            color="0.45",
        )
