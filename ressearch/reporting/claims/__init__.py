"""What a report claims: each statement with its estimate, interval, method and the number of seeds behind it.

An analysis reads the evidence and returns claims; a page shows their sentences, and `claims.json` holds them all. To
add one, write it under ``@analysis`` in a file of its own and name that file here.
"""

from __future__ import annotations

from ressearch.reporting.claims import (  # noqa: F401  (registers the analyses)
    agreement,
    axes,
    budgets,
    comparisons,
    depth,
    finalists,
    populations,
    power,
    scaling,
    trends,
    winner,
)
from ressearch.reporting.claims.claim import ANALYSES, Claim, analysis, claims_of

__all__ = ["ANALYSES", "Claim", "analysis", "claims_of"]
