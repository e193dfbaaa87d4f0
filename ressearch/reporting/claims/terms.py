"""The columns of the linear model of a search's axes, and which of its effects the search cannot tell apart."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ressearch.reporting.claims.comparisons import control_of
from ressearch.reporting.evidence import COSTS, Evidence
from ressearch.statistics.means import Floats

SPARE = 10
"""Networks that there must be beyond the number of coefficients."""

CONFOUNDED = 10.0
"""Variance inflation above which the effects of axes are not told apart (Belsley, Kuh and Welsch 1980)."""


@dataclass(frozen=True)
class Term:
    """One column of the model: a number per network."""

    axis: str
    value: Any
    against: Any
    unit: str
    column: Floats


def described_axes(evidence: Evidence) -> list[str]:
    """Return the axes that describe every network: no costs, and no numbers that some networks lack."""
    return [
        axis
        for axis in evidence.axes
        if axis not in COSTS
        and axis != "stem_width"
        and not (is_number(evidence.networks[axis]) and evidence.networks[axis].isna().any())
    ]


@functools.lru_cache(maxsize=4)
def leaders_of(evidence: Evidence) -> dict[str, str]:
    """Return the axes that a choice determines in every network, as block may the bottleneck ratio, with that choice.

    They say nothing beyond it. A choice of which each value has few networks determines others by chance: none is said.
    """
    table, found = evidence.networks, dict[str, str]()
    axes = described_axes(evidence)
    for leader in axes:
        if leader in found or is_number(table[leader]) or table[leader].nunique(dropna=False) * 5 > len(table):
            continue
        groups = table.groupby(leader, dropna=False)
        for axis in axes:
            if axis not in (leader, *found, *found.values()) and (groups[axis].nunique(dropna=False) == 1).all():
                found[axis] = leader
    return found


def is_number(values: pd.Series) -> bool:
    """Return whether an axis is a number rather than a choice."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def terms_of(evidence: Evidence) -> list[Term]:
    """Return the columns of the model: numbers as they are, or their logarithm; choices against a control."""
    table, found = evidence.networks, []
    for axis in described_axes(evidence):
        values = table[axis]
        if not is_number(values):
            control = control_of(values.astype(str))
            for value in sorted(set(values.astype(str)) - {str(control)}):
                column: Floats = (values.astype(str) == value).to_numpy().astype(float)
                if min(column.sum(), len(column) - column.sum()) >= 2:
                    found.append(Term(axis, value, control, f"{value} instead of {control}", column))
        elif (values > 0).all() and axis not in ("dropout", "se_ratio"):
            found.append(Term(axis, None, None, "doubling", np.log2(values.to_numpy(dtype=float))))
        else:
            found.append(Term(axis, None, None, "unit", values.to_numpy(dtype=float)))
    return found


def rival_of(terms: list[Term], term: Term) -> str:
    """Return in words what a term went together with most: another's axis."""
    if len(terms) == 1:
        return "the constant"
    together = np.atleast_2d(np.nan_to_num(np.corrcoef([one.column for one in terms])))
    place = terms.index(term)
    correlations = np.abs(together[place])
    correlations[place] = -1
    return terms[int(correlations.argmax())].axis.replace("_", " ")


def with_constant(terms: list[Term]) -> Floats:
    """Return the model's columns, the constant first, shape (networks, 1 + terms)."""
    return np.column_stack([np.ones(len(terms[0].column)), *(term.column for term in terms)])
