"""What the finalists reached on seeds that the search had not used, on test data that nothing had chosen by."""

from __future__ import annotations

from typing import Any

from ressearch.reporting.claims.claim import Claim, analysis, number
from ressearch.reporting.evidence import Evidence
from ressearch.results.status import Status
from ressearch.statistics.intervals import mean_interval

METHOD = "mean over fresh seeds with Student's 95 % interval; the test part was scored once, at the end"


@analysis("finalists")
def finalists(evidence: Evidence) -> list[Claim]:
    """The test accuracy of each finalist on fresh seeds, the one that the search ranked first before the others."""
    if evidence.results is None:
        return []
    final = evidence.results.phase("final").trials
    rows: list[Any] = final[final["status"] == Status.COMPLETED].to_dict("records")
    claims = []
    for row in rows:
        found = mean_interval(list(row["seed_test_accuracies"])).within(0, 1)
        has_interval, low, high = found.n > 1, found.low, found.high
        spread = f" (95 % interval {number(low)} to {number(high)})" if has_interval else ", one seed"
        claims.append(
            Claim(
                "finalist",
                {"name": str(row["name"]), "trial": int(row["trial"]), "of_trial": int(row["of_trial"])},
                found.mean,
                low if has_interval else None,
                high if has_interval else None,
                METHOD,
                found.n,
                f"Trained again on {found.n} fresh {'seeds' if has_interval else 'seed'}, {row['name']} reaches "
                f"a test accuracy of {number(found.mean)}{spread}.",
            )
        )
    return claims
