"""What a study has spent, counted by hand, and when that ends it."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from ressearch import Study
from ressearch.search.ledger import Ledger

SPACE = {"depth": [8, 14], "width": [4, 8]}
ON_RECORD = [
    {
        "trial": 0,
        "phase": "search",
        "status": "completed",
        "epochs": 4,
        "seeds": (0, 1),
        "macs": 1000.0,
        "reason": None,
    },
    {"trial": 1, "phase": "search", "status": "stopped", "epochs": 1, "seeds": (0, 1), "macs": 500.0, "reason": "asha"},
    {"trial": 2, "phase": "search", "status": "running", "epochs": 2, "seeds": (0, 1), "macs": 100.0, "reason": None},
    {"trial": 3, "phase": "baseline", "status": "completed", "epochs": 4, "seeds": (0,), "macs": 9e9, "reason": None},
    {"trial": 4, "phase": "final", "status": "failed", "epochs": 4, "seeds": (0,), "macs": 9e9, "reason": "lost"},
]
EPOCHS = 2 * 4 + 2 * 1 + 2 * 2
"""Of the search: epochs times seeds."""


def study(budget: dict[str, Any] | None = None, **resources: Any) -> Study:
    search = {"trials": 50, "sampler": "random", **({"budget": budget} if budget else {})}
    return Study.from_dict(
        {
            "space": {"search": SPACE},
            "data": {"name": "synthetic"},
            "recipe": {"epochs": 4, "seeds": 2},
            "search": search,
            "resources": resources,
        }
    )


def store(rows: list[dict[str, Any]] = ON_RECORD, seconds: float = 0.0, broken: OSError | None = None) -> Any:
    """What a ledger reads of a store."""
    tables = SimpleNamespace(trials={row["trial"]: row for row in rows})
    return SimpleNamespace(tables=tables, active_seconds=seconds, broken=broken)


def macs(examples: int) -> float:
    """An example costs its MACs forward and twice as much backward, in each epoch of each seed."""
    return 3.0 * examples * (2 * 4 * 1000 + 2 * 1 * 500 + 2 * 2 * 100)


def test_epochs_and_macs_are_those_of_every_seed_of_the_search_alone() -> None:
    searched = study()
    ledger = Ledger(searched, store())
    assert ledger.epochs == EPOCHS
    assert ledger.macs == macs(len(searched.splits().train))
    ledger.add_epochs({"seeds": (0, 1, 2), "macs": 10.0}, 2)
    assert ledger.epochs == EPOCHS + 6
    assert ledger.macs == macs(len(searched.splits().train)) + 3 * len(searched.splits().train) * 10 * 2 * 3


@pytest.mark.parametrize(("budget", "is_spent"), [(EPOCHS - 1, True), (EPOCHS, True), (EPOCHS + 1, False)])
def test_a_budget_of_epochs_is_spent_when_as_many_were_trained(budget: int, is_spent: bool) -> None:
    ledger = Ledger(study({"epochs": budget}), store())
    assert ledger.spent == (f"the budget of {budget} epochs is spent" if is_spent else None)
    assert ledger.stop_all() is is_spent
    assert ledger("any", {}) is False  # no trial by itself


@pytest.mark.parametrize(("share", "is_spent"), [(0.999, True), (1.0, True), (1.001, False)])
def test_a_budget_of_macs_is_spent_when_as_many_were_trained(share: float, is_spent: bool) -> None:
    budget = share * macs(len(study().splits().train))
    ledger = Ledger(study({"macs_trained": budget}), store())
    assert ledger.spent == (f"the budget of {budget:.3g} MACs trained is spent" if is_spent else None)


@pytest.mark.parametrize(
    ("budget", "seconds", "is_spent"),
    [("2m", 119.9, False), ("2m", 120.0, True), ("2h", 7199.0, False), ("2h", 7200.5, True), (90, 90.0, True)],
)
def test_a_budget_of_time_is_in_seconds(budget: Any, seconds: float, is_spent: bool) -> None:
    spent = Ledger(study({"wall_time": budget}), store(seconds=seconds)).spent
    assert (spent is not None) is is_spent
    if spent is not None:
        assert spent == f"the budget of { {'2m': 120, '2h': 7200, 90: 90}[budget] } s is spent"


def test_the_budget_is_the_searchs_and_ends_no_other_phase() -> None:
    spent = study({"epochs": 1, "macs_trained": 1, "wall_time": 1})
    for phase in ("baseline", "final"):
        ledger = Ledger(spent, store(seconds=1e9), phase)
        assert ledger.spent is None
        assert not ledger.stop_all()
    assert Ledger(spent, store(), "baseline").epochs == 4


def failures(count: int, ended: int, reasons: str = "ab") -> list[dict[str, Any]]:
    base = {"phase": "search", "epochs": 0, "seeds": (0,), "macs": 1.0}
    return [
        {**base, "trial": n, "status": "failed", "reason": reasons[n % len(reasons)]}
        if n < count
        else {**base, "trial": n, "status": "completed", "reason": None}
        for n in range(ended)
    ]


@pytest.mark.parametrize(
    ("failed", "ended", "limit", "is_failing"),
    [
        (4, 4, 0.5, False),
        (5, 5, 0.5, True),
        (3, 6, 0.5, False),
        (4, 6, 0.5, True),
        (1, 5, 0.0, True),
        (5, 5, 1.0, False),
    ],
)
def test_a_study_fails_when_more_than_its_share_of_at_least_five_trials_failed(
    failed: int, ended: int, limit: float, is_failing: bool
) -> None:
    ledger = Ledger(study(max_failure_rate=limit), store(failures(failed, ended, "aab")))
    expected = (
        f"{failed} of {ended} trials failed, more than resources.max_failure_rate {limit:g} allows; most often: a"
    )
    assert ledger.failing == (expected if is_failing else None)
    assert ledger.stop_all() is is_failing


def test_trials_that_end_now_count_with_those_on_record_and_open_ones_do_not() -> None:
    still_open = {**failures(1, 1)[0], "trial": 9, "status": "interrupted", "reason": "killed"}
    rows = [*failures(4, 4, "a"), still_open]
    ledger = Ledger(study(max_failure_rate=0.5), store(rows))
    assert ledger.failing is None  # four have ended
    ledger.add_end("failed")
    assert ledger.failing is not None
    assert ledger.failing.startswith("5 of 5 trials failed")
    for _ in range(5):
        ledger.add_end("completed")
    assert ledger.failing is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "cannot be written (no space left on device); make room"),
        (OSError(errno.EIO, "Input/output error"), "cannot be written (input/output error)"),
        (OSError("Gone"), "cannot be written (gone)"),
    ],
)
def test_a_directory_that_takes_no_more_ends_the_study_with_its_reason(error: OSError, said: str) -> None:
    ledger = Ledger(study(), store(broken=error))
    assert ledger.failing == said
    assert ledger.stop_all()


def test_tunes_snapshot_of_it_is_empty() -> None:
    assert Ledger(study(), store()).__getstate__() == {}
