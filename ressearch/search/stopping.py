"""How a phase ends early: its searcher has no further network, or a signal asks the study to end."""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.tune.search import Searcher

from ressearch import signals
from ressearch.results import Store
from ressearch.results.schema import is_open


class Asked(tune.Stopper):  # type: ignore[misc]  # Ray's classes are not checked
    """Ends a phase once a signal asks for it; Tune asks all the time."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no trial by itself."""
        return False

    def stop_all(self) -> bool:
        """Return whether a signal asked for the end."""
        return signals.asked() is not None


class Noted(Searcher):  # type: ignore[misc]  # Ray's classes are not checked
    """A searcher, and what it said: which trials it proposed, and whether it has no further one.

    Args:
        searcher: proposes.
    """

    def __init__(self, searcher: Searcher) -> None:
        super().__init__(metric=searcher.metric, mode=searcher.mode)
        self._searcher = searcher
        self.proposed: set[int] = set()
        self.is_exhausted = False

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune's own snapshot nothing: a run is rebuilt from our journal, which loses no trial."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Do nothing; see `__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing; see `__getstate__`."""

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config, or FINISHED."""
        suggested = self._searcher.suggest(trial_id)
        if suggested == Searcher.FINISHED:
            self.is_exhausted = True
        elif suggested is not None:
            self.proposed.add(suggested["trial"])
        return suggested

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass on what a trial reached."""
        self._searcher.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass on how a trial ended."""
        self._searcher.on_trial_complete(trial_id, result, error)

    def has_ended(self, store: Store) -> bool:
        """Return whether there is no further network and every trial that was proposed has ended, by the record."""
        rows = store.tables.trials
        return self.is_exhausted and all(number in rows and not is_open(rows[number]) for number in self.proposed)
