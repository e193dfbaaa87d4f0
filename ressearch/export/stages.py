"""Equal blocks of a stage as loops, in the code that `ressearch.export.code` writes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Unit = tuple[str, dict[str, Any]]
"""The name of a class and what it is given."""


@dataclass(frozen=True)
class Loop:
    """Blocks one after another.

    Attributes:
        units: of a block; what varies is given by name.
        count: how many blocks.
        varying: what varies over the blocks, by the name of the loop's variable.
    """

    units: tuple[Unit, ...]
    count: int = 1
    varying: dict[str, list[Any]] = field(default_factory=dict)


def loops(blocks: Sequence[tuple[Unit, ...]]) -> list[Loop]:
    """Return a stage's blocks as loops: equal neighbours together, and three or more that differ in numbers alone."""
    runs = [(block, len(list(equal))) for block, equal in itertools.groupby(blocks)]
    found: list[Loop] = []
    at = 0
    while at < len(runs):
        block, count = runs[at]
        end = at
        while end < len(runs) and runs[end][1] == 1 and _names(runs[end][0]) == _names(block):
            end += 1
        alike = [one for one, _ in runs[at:end]]
        if len(alike) > 3 and len(_varying(alike[1:])[1]) < len(_varying(alike)[1]):
            alike = alike[:1]
        if len(alike) < 3:
            found.append(Loop(block, count))
            at += 1
        else:
            units, varying = _varying(alike)
            found.append(Loop(units, len(alike), varying))
            at += len(alike)
    return found


def _names(block: tuple[Unit, ...]) -> tuple[str, ...]:
    return tuple(name for name, _ in block)


def _varying(blocks: Sequence[tuple[Unit, ...]]) -> tuple[tuple[Unit, ...], dict[str, list[Any]]]:
    """Return the blocks as one, what varies given by name, and the values of what varies."""
    varying: dict[str, list[Any]] = {}
    units = []
    for at, (name, arguments) in enumerate(blocks[0]):
        given: dict[str, Any] = {}
        for key, value in arguments.items():
            series = [block[at][1][key] for block in blocks]
            if all(one == value for one in series):
                given[key] = value
                continue
            known = next((word for word, values in varying.items() if values == series), None)
            if known is None:
                known, count = key, 2
                while known in varying:
                    known, count = f"{key}_{count}", count + 1
                varying[known] = series
            given[key] = known
        units.append((name, given))
    return tuple(units), varying
