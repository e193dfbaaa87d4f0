"""Lines of depth: networks that differ in nothing but depth, and what is held fixed as it grows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ressearch.reporting.evidence import COSTS, Evidence

NOT_HELD = {"depth", "width", "stem_width", *COSTS}
"""Axes that do not tell lines apart: what grows along them, or is held in one way or another."""

_MOST_LINES = 40
"""What holds more lines than this is no depth study."""


@dataclass(frozen=True)
class DepthLine:
    """Networks of one kind at several depths, in order.

    Attributes:
        subject: the values of the axes in which lines differ.
        networks: their numbers.
        depths: theirs.
        held: what is equal along the line besides: ``width``, ``params`` or ``macs``.
    """

    subject: dict[str, Any]
    networks: tuple[int, ...]
    depths: tuple[int, ...]
    held: str

    @property
    def label(self) -> str:
        """The line in words: its skip style, and what else tells it from others."""
        return label(self.subject)


def label(subject: dict[str, Any]) -> str:
    """Return what a network or line is, in words."""
    parts = []
    for key, value in subject.items():
        if key == "skip":
            parts.append(
                {"none": "plain networks", "identity": "identity skips"}.get(value, f"{value} skips".replace("_", " "))
            )
        elif key == "norm_order":
            parts.append("pre-activation" if value == "pre" else "post-activation")
        elif isinstance(value, str) and key in ("block", "recipe"):
            parts.append(f"{value} blocks" if key == "block" else f"recipe {value}")
        else:
            said = f"{value:g}" if isinstance(value, float) else value
            parts.append(f"{key.replace('_', ' ')} {said}")
    return ", ".join(parts) or "these networks"


@functools.lru_cache(maxsize=4)
def depth_lines(evidence: Evidence) -> tuple[DepthLine, ...]:
    """Return the lines of depth that the evidence holds; none if it is no depth study."""
    table = evidence.networks
    if "depth" not in table or table["depth"].nunique() < 2:
        return ()
    table = _plain_once(table[table["depth"].notna()], evidence.axes)
    keys = [axis for axis in evidence.axes if axis not in NOT_HELD]
    found = _grouped(table, [*keys, "width"], "width") if "width" in evidence.axes else _grouped(table, keys, "width")
    if len(found) * 2 < len(table) and sum(len(one.networks) for one in found) * 2 < len(table):
        matched = _grouped(table, keys, "")
        found = [one for one in (_held(table, line) for line in matched) if one is not None] or found
    least = 3 if evidence.is_search else 2  # of many networks drawn at random some pairs are equal but for depth
    in_lines = sum(len(one.networks) for one in found if len(one.networks) >= least)
    if len(found) > _MOST_LINES or (evidence.is_search and in_lines * 2 < len(table)):
        return ()
    return tuple(
        sorted(found, key=lambda one: (one.subject.get("skip") != "none", str(sorted(one.subject.items(), key=str))))
    )


def _plain_once(table: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """Leave out plain networks in pre-activation order where the same stand in the original order."""
    if "norm_order" not in axes or "skip" not in axes:
        return table
    plain = table["skip"] == "none"
    if not (plain & (table["norm_order"] == "post")).any():
        return table
    return table[~(plain & (table["norm_order"] == "pre"))]


def _grouped(table: pd.DataFrame, keys: list[str], held: str) -> list[DepthLine]:
    """Return the groups of equal `keys` that hold each depth once, and at least two depths."""
    groups: list[tuple[Any, pd.DataFrame]]
    groups = list(table.groupby(keys, sort=True, dropna=False)) if keys else [((), table)]
    named = [key for key in keys if table[key].nunique(dropna=False) > 1]
    found = []
    for values, group in groups:
        if group["depth"].duplicated().any() or len(group) < 2:
            continue
        group = group.sort_values("depth")
        told = dict(zip(keys, values if isinstance(values, tuple) else (values,), strict=True))
        found.append(
            DepthLine(
                {key: _plain(told[key]) for key in named if not (key == "norm_order" and told.get("skip") == "none")},
                tuple(int(one) for one in group["network"]),
                tuple(int(one) for one in group["depth"]),
                held,
            )
        )
    return found


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _held(table: pd.DataFrame, line: DepthLine) -> DepthLine | None:
    """Return the line with the cost that is equal along it, within a tenth; None if none is."""
    rows = table.set_index("network").loc[list(line.networks)]
    spread = {key: rows[key].max() / rows[key].min() - 1 for key in COSTS if key in rows and (rows[key] > 0).all()}
    if not spread:
        return None
    least = min(spread, key=lambda key: spread[key])
    return None if spread[least] > 0.1 else DepthLine(line.subject, line.networks, line.depths, least)


HELD = {
    "width": "at equal width",
    "params": "at equal parameters",
    "macs": "at equal MACs",
    "activations": "at equal activations",
}
"""What is equal along a line, in words."""
