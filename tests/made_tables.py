"""Tables of results made by hand, whose right answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ressearch.reporting.any_table import of_table
from ressearch.reporting.claims import Claim, claims_of
from ressearch.reporting.evidence import Evidence


def line(
    means: Mapping[int, float],
    seeds: int = 3,
    spread: float = 0.002,
    train: Mapping[int, float] | None = None,
    **fields: Any,
) -> pd.DataFrame:
    """Return networks by depth: seeds evenly from `spread` below the mean to `spread` above it."""
    offsets = [spread * one for one in np.linspace(-1, 1, seeds)]
    rows = [
        {**fields, "depth": depth, "seed": seed, "val_accuracy": mean + offset}
        | ({} if train is None else {"train_accuracy": train[depth] + offset})
        for depth, mean in means.items()
        for seed, offset in enumerate(offsets)
    ]
    return pd.DataFrame(rows)


def evidence(*parts: pd.DataFrame, **told: Any) -> Evidence:
    """Return the evidence of tables put together."""
    return of_table(pd.concat(parts, ignore_index=True), "made.csv", **told)


def claimed(analysis: str, *parts: pd.DataFrame, **told: Any) -> list[Claim]:
    """Return what one analysis claims of tables put together."""
    return claims_of(evidence(*parts, **told))[analysis]


PLAIN = {8: 0.80, 14: 0.84, 20: 0.82, 32: 0.76}
"""Accuracy by depth that degrades beyond 14."""

RESIDUAL = {8: 0.80, 14: 0.85, 20: 0.88, 32: 0.90}
"""Accuracy by depth that rises throughout."""


def plain_and_residual(train_gap: float = 0.05) -> list[pd.DataFrame]:
    """Return plain networks that degrade, on training data as well, and residual ones that do not."""
    return [
        line(means, train={depth: mean + train_gap for depth, mean in means.items()}, skip=skip)
        for skip, means in (("none", PLAIN), ("identity", RESIDUAL))
    ]


def search(
    networks: int = 60,
    seeds: int = 2,
    of_depth: float = 0.02,
    of_skips: float = 0.03,
    is_square: bool = False,
) -> pd.DataFrame:
    """Return networks at random: accuracy is 0.6, and `of_depth` for each doubling of depth, `of_skips` for skips.

    Args:
        networks: how many, of which every second one has skips.
        seeds: of each.
        of_depth: effect of a doubling of depth.
        of_skips: effect of identity skips.
        is_square: whether width equals depth, so that nothing tells their effects apart.
    """
    rng = np.random.default_rng(0)
    rows = []
    for number in range(networks):
        depth, width = int(rng.integers(8, 64)), int(rng.integers(8, 640))
        width = depth if is_square else width
        skip = ("none", "identity")[number % 2]
        mean = 0.6 + of_depth * np.log2(depth) + of_skips * (skip == "identity") + 0.001 * rng.normal()
        fields = {"name": f"n{number}", "depth": depth, "width": width, "skip": skip, "macs": depth * width**2}
        rows += [{**fields, "seed": seed, "val_accuracy": mean + 0.001 * seed} for seed in range(seeds)]
    return pd.DataFrame(rows)
