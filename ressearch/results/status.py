"""What can become of a trial; stated here alone."""

from __future__ import annotations

import enum


class Status(enum.StrEnum):
    """What can become of a trial. A member is its name as a text, in the tables and everywhere else."""

    summary: str

    RUNNING = "running", "training now"
    COMPLETED = "completed", "trained every epoch"
    STOPPED = "stopped", "ended early by the scheduler, or because the budget was spent"
    DIVERGED = "diverged", "the loss was no longer a number"
    FAILED = "failed", "raised, ran out of memory or lost its process"
    INTERRUPTED = "interrupted", "was training when the study was stopped"

    def __new__(cls, value: str, summary: str = "") -> Status:
        """Make a member, which says in `summary` what it means."""
        member = str.__new__(cls, value)
        member._value_, member.summary = value, summary
        return member

    @property
    def is_open(self) -> bool:
        """Whether a trial has not ended: it trains, or was interrupted and may go on."""
        return self in (Status.RUNNING, Status.INTERRUPTED)
