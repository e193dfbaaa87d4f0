"""Limits: the one place that says how large a number may be. Every reader of a number checks it here.

A bound is generous (no network, recipe or machine known to us comes near it) and stands in the message of whoever is
beyond it; between the bounds, memory decides (`ressearch.search.memory`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

LARGEST_SEED = 2**32 - 1
"""What NumPy's generators, and with them Optuna's samplers, take."""

MOST_TRIALS = 100_000
"""Trials of a study; also of a search whose number is not given."""

LISTED_POINTS = 20_000
"""Points of a space that are walked through one by one: of a grid, and of a search's space where all count."""

MOST_CHOICES = 1_000
"""Values that one key of a space may list."""

MOST_STAGES = 16
MOST_BLOCKS = 10_000
"""Blocks of a network, all stages together; the deepest network published has as many layers."""

MOST_SEEDS = 1_000
MOST_EPOCHS = 1_000_000
LARGEST_BATCH = 2**20
LARGEST_COUNT = 10**24
"""A count of MACs, parameters, bytes or epochs."""

LONGEST_TIME = 100 * 365 * 86400.0
"""Seconds of a duration: a hundred years."""

LONGEST_NAME = 100
"""Characters of a name that becomes a directory."""

LARGEST_NUMBER = 1e6
"""A learning rate, a weight decay, an option of a skip style."""

LEAST_STEP = 1e-9
"""Between two numbers of a range."""

LARGEST_SIDE = 2**16
"""Channels, height, width, tokens or features of one input, and classes."""


class Limit(NamedTuple):
    """The numbers that a field may hold, both ends included."""

    least: float
    most: float

    def refusal(self, value: float) -> str | None:
        """Return why a number is refused, or None; `nan` is always refused."""
        if self.least <= value <= self.most:
            return None
        if isinstance(value, float) and not math.isfinite(value):
            return f"{value} is not a finite number"
        if value < self.least:
            return f"{plain(value)} is below {plain(self.least)}"
        return f"{plain(value)} is above {plain(self.most)}, the most there can be"


_WIDTH = Limit(1, 2**16)

ARCHITECTURE = {
    "depths": Limit(1, MOST_BLOCKS),
    "widths": _WIDTH,
    "strides": Limit(1, 64),
    "bottleneck_ratio": Limit(2**-10, 64),
    "group_width": _WIDTH,
    "se_ratio": Limit(0, 64),
    "kernel_size": Limit(1, 255),
    "dropout": Limit(0, 1),
    "stem_width": _WIDTH,
    "head_width": _WIDTH,
    "growth_rate": Limit(0, 2**12),
    "depth": Limit(1, 4 * MOST_BLOCKS),
    "blocks_per_stage": Limit(1, MOST_BLOCKS),
    "width": _WIDTH,
    "stages": Limit(1, MOST_STAGES),
    "w0": _WIDTH,
    "wa": Limit(0, 2**16),
    "wm": Limit(1, 64),
}
"""The numbers of an Architecture's fields and of a space's family keys."""

OPTION = Limit(-LARGEST_NUMBER, LARGEST_NUMBER)
"""An option of a skip style that has no bounds of its own."""


def plain(value: float) -> str:
    """Write a number short: a whole one in full up to nine digits, any other in a few."""
    if isinstance(value, float):
        return f"{value:g}"
    if abs(value) < 10**9:
        return str(value)
    exponent = int(abs(value).bit_length() * math.log10(2))
    return f"about {'-' if value < 0 else ''}10^{exponent}"


def short(value: object, most: int = 60) -> str:
    """Write any value in at most so many characters, for a message; never raises."""
    if isinstance(value, int) and not isinstance(value, bool):
        return plain(value) if abs(value) >= 10**24 else str(value)
    try:
        text = repr(value[: 2 * most] if isinstance(value, str | list | tuple) else value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a list within a list within …
        text = f"a {type(value).__name__}"
    return text if len(text) <= most else text[: most - 3] + "..."


__all__ = ["ARCHITECTURE", "OPTION", "Limit", "plain", "short"]
