"""A claim, the registry of analyses that make claims, and the words that claims share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ressearch.errors import StudyError
from ressearch.registry import Registry
from ressearch.reporting.evidence import Evidence, plain_json


@dataclass(frozen=True)
class Claim:
    """One statement of a report.

    Attributes:
        kind: of statement: ``best_depth``, ``difference``, …
        subject: what it is about.
        estimate: the value claimed; None where the data cannot say.
        low, high: the ends of its interval; None where there is none.
        confidence: of the interval.
        p: of the test behind the statement, adjusted for everything tested with it; None where nothing was tested.
        method: how it was computed, with its source.
        n: how many values it rests on.
        sentence: the statement in words.
        more: further fields of its kind.
    """

    kind: str
    subject: dict[str, Any]
    estimate: Any
    low: Any
    high: Any
    method: str
    n: int
    sentence: str
    p: float | None = None
    confidence: float = 0.95
    more: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as JSON takes it."""
        said = {
            "kind": self.kind,
            "subject": self.subject,
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "confidence": self.confidence,
            "p": self.p,
            "method": self.method,
            "n": self.n,
            "sentence": self.sentence,
        }
        made: dict[str, Any] = plain_json({**said, **self.more})
        return made


Analysis = Callable[[Evidence], list[Claim]]

ANALYSES: Registry[Analysis] = Registry("analyses", StudyError, "analysis {name} is unknown")
"""Every analysis by name, in the order of the report; each returns no claim where the evidence says nothing."""


def analysis(name: str, *, of_studies: bool = False, replace: bool = False) -> Callable[[Analysis], Analysis]:
    """Register a function from evidence to claims as analysis `name`: of one study, or of several side by side."""

    def make(function: Analysis) -> Analysis:
        return lambda evidence: function(evidence) if bool(evidence.studies) == of_studies else []

    return ANALYSES.register(name, make=make, replace=replace)


def claims_of(evidence: Evidence) -> dict[str, list[Claim]]:
    """Return what every analysis claims, by the analysis' name."""
    return {name: make(evidence) for name, make in ANALYSES.items()}


def number(value: float, digits: int = 3) -> str:
    """Return an accuracy or a difference as a sentence gives it."""
    return f"{value:.{digits}f}"


def span(low: float, high: float, digits: int = 3) -> str:
    """Return an interval as a sentence gives it."""
    if math.isnan(low) or math.isnan(high):
        return "no interval"
    return f"95 % interval {low:+.{digits}f} to {high:+.{digits}f}"
