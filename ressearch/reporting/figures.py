"""What every figure of a report shares: the registry, the style, colours and sizes, and how a figure becomes SVG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ressearch.errors import StudyError
from ressearch.registry import Registry
from ressearch.reporting.claims.claim import Claim
from ressearch.reporting.evidence import Evidence
from ressearch.results import Results
from ressearch.units import format_count

INK, SOFT, FAINT = "#262a2e", "#76808b", "#d9dde2"
"""Colours of text, of lines that are not data, and of grids. On a page they follow its light or dark scheme."""

Draw = Callable[[Axes], None]


@dataclass(frozen=True)
class Plot:
    """A figure: one panel or more, what it shows, and how to read it.

    Attributes:
        name: of its files.
        title: its heading.
        sentence: what it shows, where `claims` do not say it.
        caption: how to read it.
        figure: the figure, where it is not made of `panels`.
        panels: what draws each panel on its axes. A page stacks them where it is narrow.
        claims: what it shows.
        about: the analysis whose claims it belongs to; empty: it stands by itself.
    """

    name: str
    title: str
    sentence: str
    caption: str
    figure: Figure | None = None
    panels: tuple[Draw, ...] = ()
    claims: tuple[Claim, ...] = ()
    about: str = ""

    def whole(self) -> Figure:
        """Return the figure with its panels side by side."""
        return self.figure if self.figure is not None else drawn(self.panels)


Maker = Callable[[Evidence], Plot | None]

PLOTS: Registry[Maker] = Registry("plots", StudyError, "plot {name} is unknown")
"""Every plot by name, in the order of the report; a maker returns None where there is nothing to show."""


def figure(name: str, *, of_studies: bool = False, replace: bool = False) -> Callable[[Maker], Maker]:
    """Register a maker as plot `name`.

    It is given the evidence: of a study or a table from elsewhere, or of several of them side by side.
    """

    def make(maker: Maker) -> Maker:
        return lambda evidence: maker(evidence) if bool(evidence.studies) == of_studies else None

    return PLOTS.register(name, make=make, replace=replace)


def plot(
    name: str, phases: tuple[str, ...] = ("search",), *, replace: bool = False
) -> Callable[[Callable[[Results], Plot | None]], Callable[[Results], Plot | None]]:
    """Register a maker as plot `name`; it is given the results of these phases of a study."""

    def make(maker: Callable[[Results], Plot | None]) -> Maker:
        return lambda evidence: None if evidence.results is None else maker(evidence.results.phase(*phases))

    return PLOTS.register(name, make=make, replace=replace)


@contextmanager
def style() -> Iterator[None]:
    """Apply the report's look within the block."""
    settings: dict[Any, Any] = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": SOFT,
        "grid.color": FAINT,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.facecolor": "white",
        "axes.facecolor": "none",
        "svg.hashsalt": "ressearch",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "legend.frameon": False,
        "text.parse_math": False,  # a name may hold dollar signs
    }
    with (
        warnings.catch_warnings(),
        sns.axes_style("whitegrid"),
        sns.plotting_context("notebook", font_scale=0.9),
        matplotlib.rc_context(settings),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page's fonts have it
        yield


def drawn(panel_drawers: Sequence[Draw]) -> Figure:
    """Return a figure with each panel drawn beside the others."""
    whole, axes = panels(len(panel_drawers))
    for draw, one in zip(panel_drawers, axes, strict=True):
        draw(one)
    return whole


_TAG = "networks:"


def tag(marks: PathCollection, networks: Iterable[int]) -> None:
    """Note which networks points are, in order, so that a page can tell which one a reader points at."""
    marks.set_gid(_TAG + ",".join(str(int(one)) for one in networks))


def lay_out(one: Figure) -> None:
    """Give the panels of a finished figure their places, once for all files that it is saved to.

    A figure with a layout engine is laid out, and all of it drawn, twice for each file.
    """
    engine = one.get_layout_engine()
    if engine is not None:
        engine.execute(one)
        one.set_layout_engine("none")


def svg(one: Figure) -> str:
    """Return a figure as SVG that follows the page's colours, its points marked with the networks that they are."""
    lay_out(one)
    text = io.StringIO()
    one.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()


def for_page(text: str, prefix: str) -> str:
    """Return an SVG file's text as an element of a page: no two with the same ids, colours by the page's scheme."""
    text = text[text.index("<svg") :]
    text = re.sub(r'<g id="networks:([\d,]*)">(.*?)</g>\s*</g>', _tagged, text, flags=re.DOTALL)
    text = re.sub(r'(id="|xlink:href="#|url\(#)', lambda found: found[1] + prefix, text)
    for colour, name in ((INK, "ink"), (SOFT, "soft"), (FAINT, "line")):
        text = text.replace(colour, f"var(--{name})")
    return re.sub(
        r'<svg ([^>]*?)(?:width="[^"]*"|height="[^"]*")([^>]*?)(?:width="[^"]*"|height="[^"]*")',
        r"<svg \1\2",
        text,
        count=1,
    )


def _tagged(found: re.Match[str]) -> str:
    names = iter(found[1].split(","))
    inside = re.sub(r"<use ", lambda _: f'<use data-n="{next(names, "")}" ', found[2])
    return f"<g>{inside}</g></g>"


def panels(count: int, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels side by side, each the same size."""
    whole = Figure(figsize=(5.4 * count, height), layout="constrained")
    axes = whole.subplots(1, count, squeeze=False)
    return whole, list(axes[0])


def colours(names: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Return a colour-blind-safe colour for each name: always the same for plain and for identity networks."""
    palette = sns.color_palette("colorblind", 10)
    fixed = {"none": palette[3], "identity": palette[0]}
    others = [palette[index] for index in (2, 4, 1, 5, 6, 8, 9, 7)]
    rest = [name for name in names if name not in fixed]
    return {
        name: fixed.get(name, others[rest.index(name) % len(others)] if name in rest else palette[7]) for name in names
    }


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
        axes.axhline(chance, color=SOFT, linestyle=":", linewidth=1.2)
        axes.annotate(
            "chance",
            (0.01, chance),
            xycoords=("axes fraction", "data"),
            ha="left",
            va="bottom",
            fontsize="small",
            color=SOFT,
        )
