"""Progress: how far a study is, derived from its record whenever it is asked for. A study is complete once every trial
that it planned has ended; no signal, exception or exit code has a say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ressearch.results.schema import is_open
from ressearch.results.tables import Tables


@dataclass(frozen=True)
class Progress:
    """How far a study is.

    Attributes:
        ended: trials that have ended, of all phases.
        planned: trials in all, as far as is known: a phase to come counts once it has begun.
        missing: the phases that have not ended, in order.
        why: why phases ended before their last planned trial, by phase: a budget, or a space with no further network.
    """

    ended: int
    planned: int
    missing: tuple[str, ...]
    why: Mapping[str, str]

    @property
    def is_complete(self) -> bool:
        """Whether every planned trial has ended."""
        return not self.missing


def progress(run: Mapping[str, Any], tables: Tables) -> Progress:
    """Return how far the study of a record is.

    Args:
        run: what `run.json` says: what was asked for, and how many trials the search plans at most.
        tables: the trials on record.
    """
    rows = tables.trials.values()
    ended = sum(not is_open(row) for row in rows)
    of_search = [row for row in rows if row["phase"] == "search"]
    is_open_search = any(is_open(row) for row in of_search)
    is_short = "search" not in tables.finished and sum(not is_open(row) for row in of_search) < run["planned_trials"]
    missing = ["search"] if is_open_search or is_short else []
    planned = len(of_search) if "search" in tables.finished else max(run["planned_trials"], len(of_search))
    for name in _further_phases(run):
        numbers = tables.plans.get(name, ())
        of_phase = {row["trial"]: row for row in rows if row["phase"] == name}
        planned += len(set(numbers) | set(of_phase))
        is_ended = all(number in of_phase and not is_open(of_phase[number]) for number in numbers)
        if name not in tables.settled or not is_ended or any(is_open(row) for row in of_phase.values()):
            missing.append(name)
    if missing and _was_complete(run, tables):
        return Progress(ended, ended, (), {})
    return Progress(ended, planned, tuple(missing), dict(tables.finished))


def _further_phases(run: Mapping[str, Any]) -> list[str]:
    """Return the phases that a study asks for besides its search."""
    search = run.get("study", {}).get("search", {})
    wanted = ["baseline"] if search.get("baseline") else []
    return [*wanted, "final"] if (search.get("finalists") or {}).get("count") else wanted


def _was_complete(run: Mapping[str, Any], tables: Tables) -> bool:
    """Return whether a record that names no phases (of an older version, or tables alone) is of a complete study.

    Older versions recorded neither plans nor why a search ended early. Their `is_complete` is believed where the record
    does not contradict it: no trial is open, and fewer than planned have ended only where something else could end it.
    """
    is_old = run.get("record") is None
    if (tables.settled and not is_old) or not run.get("is_complete", is_old and _has_all(run, tables)):
        return False
    if any(is_open(row) for row in tables.trials.values()):
        return False
    return _has_all(run, tables) or (bool(tables.trials) and _may_end_early(run))


def _has_all(run: Mapping[str, Any], tables: Tables) -> bool:
    ended = sum(row["phase"] == "search" and not is_open(row) for row in tables.trials.values())
    return bool(ended >= run["planned_trials"])


def _may_end_early(run: Mapping[str, Any]) -> bool:
    search = run.get("study", {}).get("search", {})
    budget, constraints = search.get("budget") or {}, search.get("constraints") or {}
    is_bounded = any(value is not None for value in budget.values()) or constraints.get("max_latency") is not None
    return is_bounded or bool(search.get("warm_start"))
