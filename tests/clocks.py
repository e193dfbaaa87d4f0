"""A clock of our own: no test waits, and none depends on time."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """Stands in for the module `time`: it passes by sleeping, and as a test sets it."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, [0.0][:0]
        self.while_asleep: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self.now

    monotonic = time

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.while_asleep()
