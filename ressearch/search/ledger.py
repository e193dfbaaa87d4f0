"""The ledger: what a study has spent, and the reason to end it before its last trial."""

from __future__ import annotations

import errno
from collections import Counter
from typing import Any

from ray import tune

from ressearch.results import Store
from ressearch.results.schema import is_open, macs_trained
from ressearch.results.status import Status
from ressearch.search.study import Study

_FEW = 5
"""Trials that have to end before the share of failed ones says anything."""


class Ledger(tune.Stopper):  # type: ignore[misc]  # Ray's classes are not checked
    """Adds up a study's epochs, MACs, time and failures, and says when enough is enough; Tune asks it all the time.

    Args:
        study: whose budget.
        store: what is on record, of this run and those before it.
        phase: the trials that count; the budget is that of the search.
    """

    def __init__(self, study: Study, store: Store, phase: str = "search") -> None:
        self._study, self._store, self._phase = study, store, phase
        self.epochs, self.macs = 0, 0.0
        self._outcomes: Counter[str] = Counter()
        self._examples = len(study.splits().train)
        for row in self._rows():
            self.add_epochs(row, row["epochs"])
            if not is_open(row):
                self._outcomes[row["status"]] += 1

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's own snapshot nothing."""
        return {}

    def _rows(self) -> list[dict[str, Any]]:
        return [row for row in self._store.tables.trials.values() if row["phase"] == self._phase]

    def add_epochs(self, row: dict[str, Any], epochs: int) -> None:
        """Count epochs that a trial trained."""
        self.epochs += epochs * len(row["seeds"])
        self.macs += macs_trained(row, self._examples, epochs)

    def add_end(self, status: str) -> None:
        """Count a trial that ended."""
        self._outcomes[status] += 1

    @property
    def spent(self) -> str | None:
        """Which budget is spent, in words; None while none is."""
        budget = self._study.search.budget
        if self._phase != "search":
            return None
        if budget.epochs is not None and self.epochs >= budget.epochs:
            return f"the budget of {budget.epochs} epochs is spent"
        if budget.macs_trained is not None and self.macs >= budget.macs_trained:
            return f"the budget of {budget.macs_trained:.3g} MACs trained is spent"
        if budget.wall_time is not None and self._store.active_seconds >= budget.wall_time:
            return f"the budget of {budget.wall_time:g} s is spent"
        return None

    @property
    def failing(self) -> str | None:
        """Why the study makes no sense any more: too many trials failed, or its directory takes no more; else None."""
        if self._store.broken is not None:
            said = (self._store.broken.strerror or str(self._store.broken)).lower()
            return f"cannot be written ({said})" + ("; make room" if self._store.broken.errno == errno.ENOSPC else "")
        ended = sum(self._outcomes.values())
        limit = self._study.resources.max_failure_rate
        if ended >= _FEW and self._outcomes[Status.FAILED] > limit * ended:
            reasons = Counter(row["reason"] for row in self._rows() if row["status"] == Status.FAILED)
            return (
                f"{self._outcomes['failed']} of {ended} trials failed, more than resources.max_failure_rate {limit:g} "
                f"allows; most often: {reasons.most_common(1)[0][0]}"
            )
        return None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no trial by itself."""
        return False

    def stop_all(self) -> bool:
        """Return whether everything ends now."""
        return self.spent is not None or self.failing is not None
