"""The picture of one network: its stages from left to right, and one of its blocks layer by layer."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from ressearch.networks.architecture import Architecture
from ressearch.networks.attention import Attention
from ressearch.networks.cost import PartCost, breakdown, cost, input_channels
from ressearch.networks.layers import Activation, Affine, Conv, Dropout, Layer, Linear, Norm, SqueezeExcite
from ressearch.networks.merges import Concatenation
from ressearch.networks.plan import Block, Plan, Residual, plan
from ressearch.networks.skips import SKIPS
from ressearch.shapes import Shape
from ressearch.units import format_count

_PALETTE = sns.color_palette("colorblind", 10)
_INK, _FAINT = "0.15", "0.45"
_SKIP = _PALETTE[3]
_MOST_BARS = 14
"""Blocks of a stage that are drawn one by one."""


def draw(
    architecture: Architecture,
    input_shape: Shape = (3, 32, 32),
    num_classes: int | None = None,
    title: str | None = None,
) -> Figure:
    """Return a 16:9 figure of the network for a slide.

    Args:
        architecture: the network.
        input_shape: one input's, without the batch.
        num_classes: outputs; None as in `ressearch.build`.
        title: heading; None takes the architecture's name.

    Raises:
        ArchitectureError: as `ressearch.cost`.
    """
    price = cost(architecture, input_shape, num_classes)
    figure = Figure(figsize=(12.8, 7.2), facecolor="white")
    figure.text(0.04, 0.935, title or architecture.name, fontsize=21, fontweight="bold", color=_INK)
    figure.text(
        0.04,
        0.89,
        f"depth {architecture.depth}   ·   {format_count(price.params)} parameters   ·   "
        f"{format_count(price.macs)} MACs   ·   {format_count(price.activations)} activations   ·   "
        f"input {'×'.join(map(str, input_shape))}",
        fontsize=12.5,
        color=_FAINT,
    )
    planned = plan(architecture, input_channels(tuple(input_shape)), num_classes)
    rows = breakdown(architecture, input_shape, num_classes)
    _draw_stages(_canvas(figure, (0.04, 0.45, 0.92, 0.41)), planned, rows)
    shown = _typical_blocks(planned)
    height = 0.37 / len(shown)
    for row, (caption, block) in enumerate(shown):
        bottom = 0.03 + (len(shown) - 1 - row) * (height + 0.005)
        axes = _canvas(figure, (0.04, bottom, 0.92, height))
        _draw_block(axes, block, caption, _formula(architecture) if row == 0 else "")
    return figure


def _typical_blocks(planned: Plan) -> list[tuple[str, Block]]:
    """Return the block to look into, with its caption, and one that changes the shape, if its shortcut has layers."""
    runs = [run for stage in planned.stages for run in stage.runs]
    skipping = [run for run in runs if all(unit.merge and not unit.shortcut for unit in run[0].units)]
    usual, _ = max(skipping or runs, key=lambda run: run[1])
    changing = [block for block, _ in runs if any(unit.shortcut for unit in block.units) and block is not usual]
    return [("inside a block", usual), *(("where the shape changes", block) for block in changing[:2][-1:])]


def _canvas(figure: Figure, place: tuple[float, float, float, float]) -> Axes:
    axes = figure.add_axes(place)
    axes.axis("off")
    width, height = figure.get_size_inches()
    axes.set_xlim(0, place[2] * width)
    axes.set_ylim(0, place[3] * height)
    axes.set_aspect("equal")
    return axes


def _draw_stages(axes: Axes, planned: Plan, rows: Sequence[PartCost]) -> None:
    total = max(1, sum(row.cost.macs for row in rows))
    blocks = {
        f"stage {number}": [any(unit.merge for unit in block.units) for block in stage.blocks]
        for number, stage in enumerate(planned.stages, start=1)
    }
    skips = [blocks.get(row.stage, [False]) if row.part != "transition" else [False] for row in rows]
    is_stage = [" x " in row.part for row in rows]
    units = [
        1.1 + 0.22 * min(len(bars), _MOST_BARS) if many else 0.8 for bars, many in zip(skips, is_stage, strict=True)
    ]
    room, height = axes.get_xlim()[1], axes.get_ylim()[1]
    scale = room / (sum(units) + 0.5 * (len(units) - 1))
    largest = max(_side(row.output_shape) for row in rows[:-1])
    x, middle = 0.0, height * 0.6
    size = min(10.5, 62 / len(rows) + 2.5)
    for row, bars, unit in zip(rows, skips, units, strict=True):
        width = unit * scale
        side = _side(row.output_shape) if row.stage != "head" else 0
        tall = 0.55 + 1.25 * (math.log2(1 + side) / math.log2(1 + largest)) if side else 0.55
        colour = _PALETTE[7] if not row.stage.startswith("stage") else _PALETTE[0]
        if row.part == "transition":
            colour = _PALETTE[4]
        _draw_bars(axes, (x, middle, width, tall), bars, colour)
        part = row.part.replace(" x ", " × ")
        shape = "×".join(map(str, row.output_shape))
        label = f"{row.stage}\n{part}\n{shape}" if row.part != "transition" else f"transition\n{shape}"
        if row.stage == "head":
            label = "head\n" + part.replace(", ", "\n")
        text: dict[str, Any] = {"ha": "center", "va": "top", "linespacing": 1.35}
        axes.text(x + width / 2, middle - 1.0, label, fontsize=size, color=_INK, **text)
        share = row.cost.macs / total
        if share >= 0.005 and row.stage != "head":
            axes.text(x + width / 2, middle - 1.72, f"{share:.0%} of MACs", fontsize=size - 1, color=_FAINT, **text)
        x += width
        if row is not rows[-1]:
            _arrow(axes, (x + 0.04 * scale, middle), (x + 0.46 * scale, middle))
        x += 0.5 * scale


def _side(shape: Shape) -> int:
    return shape[1] if len(shape) == 3 else shape[0] if len(shape) == 2 else 8


def _draw_bars(axes: Axes, place: tuple[float, float, float, float], has_skip: Sequence[bool], colour: Any) -> None:
    """Draw blocks in a place (left, middle, width, height), the skip above each that has one; dots for many."""
    x, middle, width, tall = place
    count = min(len(has_skip), _MOST_BARS)
    gap = 0.28 * width / count if count > 1 else 0.0
    bar = (width - gap * (count - 1)) / count
    if count == 1 and colour == _PALETTE[0]:
        bar, x = 0.5 * width, x + 0.25 * width
    for index in range(count):
        left = x + index * (bar + gap)
        if index == count // 2 and count < len(has_skip):
            axes.text(left + bar / 2, middle, "···", ha="center", va="center", fontsize=13, color=_INK)
            continue
        axes.add_patch(
            FancyBboxPatch(
                (left, middle - tall / 2),
                bar,
                tall,
                boxstyle=f"round,pad=0,rounding_size={min(0.06, bar / 3)}",
                facecolor=colour,
                edgecolor="white",
                linewidth=0.8,
            )
        )
        if has_skip[index]:
            over = max(gap, 0.12 * bar) / 2
            _arc(axes, left - over, left + bar + over, middle + tall / 2, 0.16, linewidth=1.4)


def _arc(axes: Axes, left: float, right: float, bottom: float, rise: float, linewidth: float = 2.0) -> None:
    points = [(left, bottom), (left, bottom + rise), (right, bottom + rise), (right, bottom)]
    codes = [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
    axes.add_patch(PathPatch(Curve(points, codes), facecolor="none", edgecolor=_SKIP, linewidth=linewidth))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: Any = _INK) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=10, linewidth=1.3, color=colour, shrinkA=0, shrinkB=0
        )
    )


def _colour(layer: Layer) -> Any:
    kinds: Sequence[tuple[tuple[type, ...], Any]] = (
        ((Conv, Linear, Attention), _PALETTE[0]),
        ((Norm,), _PALETTE[2]),
        ((Activation,), _PALETTE[1]),
        ((SqueezeExcite,), _PALETTE[4]),
        ((Affine, Dropout), _PALETTE[7]),
    )
    return next((colour for types, colour in kinds if isinstance(layer, types)), _PALETTE[7])


def _formula(architecture: Architecture) -> str:
    formula = SKIPS[architecture.skip].formula
    return f"skip '{architecture.skip}':  {formula}" if architecture.skip != "none" else f"plain:  {formula}, no skip"


def _draw_block(axes: Axes, block: Block, caption: str, formula: str) -> None:
    """Draw a block's units from left to right: main path in boxes, the skip above it."""
    room, height = axes.get_xlim()[1], axes.get_ylim()[1]
    axes.text(0, height - 0.04, caption, fontsize=13, fontweight="bold", color=_INK, va="top")
    axes.text(room, height - 0.04, formula, fontsize=12, color=_SKIP, va="top", ha="right")
    slots = sum(_slots(unit) for unit in block.units)
    slot = (room - 0.9) / max(slots, 6)
    x, middle = 0.55, height * 0.27
    axes.text(x - 0.12, middle, "x", fontsize=14, style="italic", ha="right", va="center", color=_INK)
    for unit in block.units:
        x = _draw_unit(axes, unit, x, middle, slot, height)


def _slots(unit: Residual) -> float:
    layers = len(unit.before) + len(unit.branch) + len(unit.after)
    return layers + (0.9 if unit.merge else 0.3)


def _draw_unit(axes: Axes, unit: Residual, x: float, middle: float, slot: float, height: float) -> float:
    for layer in unit.before:
        x = _draw_layer(axes, layer, x, middle, slot)
    start = x
    for layer in unit.branch:
        x = _draw_layer(axes, layer, x, middle, slot)
    if unit.merge is not None:
        centre = x + 0.45 * slot
        radius = min(0.15, 0.3 * slot)
        _arrow(axes, (x, middle), (centre - radius, middle))
        top = middle + (0.82 if height > 2.2 else 0.56)
        _draw_skip_path(axes, start + 0.06 * slot, centre, middle, top, radius)
        _draw_shortcut(axes, unit.shortcut, start + 0.06 * slot, centre, top)
        axes.add_patch(Circle((centre, middle), radius, facecolor="white", edgecolor=_SKIP, linewidth=1.8, zorder=3))
        sign = "‖" if isinstance(unit.merge, Concatenation) else "+"
        axes.text(centre, middle, sign, ha="center", va="center_baseline", fontsize=14, color=_SKIP, zorder=4)
        x = centre + radius
    for layer in unit.after:
        x = _draw_layer(axes, layer, x, middle, slot)
    _arrow(axes, (x, middle), (x + 0.28 * min(slot, 1.0), middle))
    return x + 0.28 * min(slot, 1.0)


def _draw_skip_path(axes: Axes, left: float, right: float, middle: float, top: float, radius: float) -> None:
    axes.plot([left, left, right], [middle, top, top], color=_SKIP, linewidth=2, solid_joinstyle="round", zorder=1)
    _arrow(axes, (right, top), (right, middle + radius), _SKIP)


def _draw_shortcut(axes: Axes, layers: Sequence[Layer], left: float, right: float, top: float) -> None:
    if not layers:
        return
    text = ", ".join(str(layer).rpartition(",")[0] or str(layer) for layer in layers)
    axes.text(
        (left + right) / 2,
        top,
        text,
        ha="center",
        va="center",
        fontsize=9.5,
        color=_INK,
        bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": _SKIP, "linewidth": 1.4},
        zorder=4,
    )


def _draw_layer(axes: Axes, layer: Layer, x: float, middle: float, slot: float) -> float:
    """Draw one layer's box in its slot; returns where the slot ends."""
    gap = 0.16 * slot
    box = slot - gap
    _arrow(axes, (x, middle), (x + gap, middle))
    axes.add_patch(
        FancyBboxPatch(
            (x + gap, middle - 0.3),
            box,
            0.6,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=(*_colour(layer), 0.22),
            edgecolor=_colour(layer),
            linewidth=1.4,
        )
    )
    words = _wrapped(str(layer), max(6, int(box / 0.085)))
    axes.text(x + gap + box / 2, middle, words, ha="center", va="center", fontsize=8.5, color=_INK, linespacing=1.2)
    return x + slot


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, break_long_words=False))
