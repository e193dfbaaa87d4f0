"""The figures of several studies side by side."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ressearch.reporting.charts import depth_curve
from ressearch.reporting.claims.agreement import shared
from ressearch.reporting.claims.lines import NOT_HELD, depth_lines, label
from ressearch.reporting.evidence import Evidence
from ressearch.reporting.figures import INK, SOFT, Draw, Plot, accuracy_axis, colours, figure, tag
from ressearch.reporting.plots import PANELS, seeds_table, with_legend


@figure("studies", of_studies=True)
def studies(evidence: Evidence) -> Plot | None:
    """The accuracy of each shared network in one study against that in the first; a panel for each other study."""
    first = next(iter(evidence.studies))
    drawers: list[Draw] = [
        partial(_against, evidence=evidence, pairs=pairs, first=first, other=other)
        for other, pairs in shared(evidence).items()
        if len(pairs) > 1
    ]
    if not drawers:
        return None
    return Plot(
        "studies",
        "The same networks in each study",
        "",
        "A point for each network that both studies have, at its mean validation accuracy over seeds in the one and in "
        "the other. On the line both are equal; points in the same order from left to right as from bottom to top say "
        "that the studies rank networks alike.",
        panels=tuple(drawers[:PANELS]),
        about="agreement",
    )


def _against(axes: Axes, *, evidence: Evidence, pairs: list[tuple[int, int]], first: str, other: str) -> None:
    x = np.array([evidence.scores[base].mean() for _, base in pairs])
    y = np.array([evidence.scores[one].mean() for one, _ in pairs])
    low, high = max(min(x.min(), y.min()), 0.0), min(max(x.max(), y.max()), 1.0)
    axes.plot([low, high], [low, high], color=SOFT, linewidth=1.0, linestyle=":", zorder=1)
    marks = axes.scatter(x, y, color=INK, s=30 if len(pairs) < 300 else 8, alpha=0.7, edgecolors="none", zorder=3)
    tag(marks, pd.Series([one for one, _ in pairs]))
    axes.set_xlabel(f"validation accuracy in {first}")
    accuracy_axis(axes, f"validation accuracy in {other}")


@figure("depth_by_study", of_studies=True)
def depth_by_study(evidence: Evidence) -> Plot | None:
    """Depth against accuracy, a line for each study, a panel for each kind of network that differs in depth alone."""
    table = _lines_table(evidence)
    if table.empty or table["study"].nunique() < 2:
        return None
    palette = colours(list(evidence.studies))
    kinds = sorted(table["kind"].unique(), key=lambda one: (not one.startswith("plain"), one))
    drawers: list[Draw] = [
        partial(_kind, table=table[table["kind"] == kind], kind=kind, palette=palette, legend=at == 0)
        for at, kind in enumerate(kinds[:PANELS])
    ]
    return Plot(
        "depth_by_study",
        "Depth versus accuracy in each study",
        "",
        "Points are means over seeds after the last epoch; bars are 95 % Student intervals of each mean alone, over "
        "seeds. A panel for each kind of network that several of the studies have.",
        panels=tuple(drawers),
        about="depth_in_each",
    )


def _lines_table(evidence: Evidence) -> pd.DataFrame:
    """Return the seeds of all networks that are in a line of depth of their own study, with the line's `kind`."""
    found = {
        (study, one) for study, part in evidence.studies.items() for line in depth_lines(part) for one in line.networks
    }
    table = seeds_table(evidence)
    places = zip(table["study"], table["number_in_study"], strict=True)
    table = table[np.array([(study, int(one)) in found for study, one in places], dtype=bool)]  # a mask if empty too
    keys = [key for key in evidence.axes if key != "study" and key not in NOT_HELD]
    rows: list[Any] = table[keys].to_dict("records")
    table = table.assign(kind=[label(row) for row in rows])
    in_several = table.groupby("kind")["study"].transform("nunique") > 1
    return table[in_several] if in_several.any() else table


def _kind(axes: Axes, *, table: pd.DataFrame, kind: str, palette: dict[str, Any], legend: bool) -> None:
    depth_curve(table, hue="study", palette=palette, ax=axes)
    accuracy_axis(axes, "validation accuracy")
    rows = 0
    if legend:
        with_legend(axes)
        shown = axes.get_legend()
        rows = 0 if shown is None else -(-len(shown.get_texts()) // shown._ncols)  # type: ignore[attr-defined]
    axes.set_title(f"{kind[:1].upper()}{kind[1:]}", fontsize="medium", loc="left", pad=6 + 18 * rows)
