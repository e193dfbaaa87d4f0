"""Numbers as people write them: counts (``40M``), durations (``2h``, ``5ms``) and sizes (``2G``, ``512MiB``)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from ressearch.limits import LARGEST_COUNT, LONGEST_TIME, short

_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_BYTES = {
    **_COUNTS,
    **{f"{prefix}b": size for prefix, size in _COUNTS.items()},
    **{f"{prefix}i{b}": 1024.0**power for power, prefix in enumerate("kmgt", start=1) for b in ("b", "")},
}
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?) ?([a-zµ]*)")
"""A number and a unit: the one grammar of everything here."""


def _quantity(value: object, units: Mapping[str, float], bare: str) -> float | None:
    """Return a number times its unit (that of `bare` where none is written), or None for what is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int | float):
        try:
            return float(value) * units[bare]
        except OverflowError:
            return math.inf
    if len(value) > 100:
        return None
    found = _QUANTITY.fullmatch(value.strip().lower().replace("μ", "µ").replace("_", ""))
    if found is None or (found[2] or bare) not in units:
        return None
    return float(found[1]) * units[found[2] or bare]


def _pattern(units: Mapping[str, float]) -> str:
    """Return a regular expression, of the kind that JSON Schema takes, for a number with one of some units."""
    letters = {"µ": "[µμ]"}
    written = ("".join(letters.get(one, f"[{one}{one.upper()}]") for one in unit) for unit in units if unit)
    return rf"^\s*\+?([0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)([eE][+-]?[0-9_]+)? ?({'|'.join(written)})?\s*$"


COUNT_PATTERN, SIZE_PATTERN, DURATION_PATTERN = _pattern(_COUNTS), _pattern(_BYTES), _pattern(_SECONDS)
"""What quantities look like as text. A number that is 0 or beyond all bounds looks so too."""


def parse_count(value: object) -> int:
    """Read a count such as ``40M``, ``1.5k``, ``2e6`` or ``400000``. Raises ValueError for anything else."""
    return _whole(value, _COUNTS, "count such as 400000 or 40M")


def parse_size(value: object) -> int:
    """Read a size in bytes such as ``2G``, ``500MB`` (decimal) or ``512MiB``. Raises ValueError for anything else."""
    return _whole(value, _BYTES, "size such as 2G or 512MiB")


def _whole(value: object, units: Mapping[str, float], expected: str) -> int:
    count = _quantity(value, units, "")
    if count is None:
        raise ValueError(f"{short(value)} is not a {expected}")
    if not count >= 0.5:
        raise ValueError(f"{short(value)} is not a positive {expected.split()[0]}")
    if count > LARGEST_COUNT:
        raise ValueError(f"{short(value)} is above {LARGEST_COUNT:.0e}, the most there can be")
    return value if type(value) is int else max(1, round(count))


def parse_duration(value: object, unit: str = "s") -> float:
    """Read a time such as ``90``, ``5ms``, ``45s``, ``30m``, ``2h`` or ``1d``. Raises ValueError for others.

    Args:
        value: the time; a bare number has the unit `unit`.
        unit: what is returned: ``s`` or ``ms``.
    """
    seconds = _quantity(value, _SECONDS, unit)
    if seconds is None or not seconds > 0:
        raise ValueError(f"{short(value)} is not a time such as {'5ms' if unit == 'ms' else '90'}, 30m or 2h")
    if seconds > LONGEST_TIME:
        raise ValueError(f"{short(value)} is longer than a hundred years")
    return float(value) if isinstance(value, int | float) else seconds / _SECONDS[unit]


def parse_milliseconds(value: object) -> float:
    """Read a time in milliseconds, as `parse_duration`: ``5ms`` and a bare 5 are the same."""
    return parse_duration(value, "ms")


def format_count(count: float) -> str:
    """Write a count in three digits with its unit: 855770 is ``856k``, 125747850 is ``126M``."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}" if count < 999.5 * size else f"{count / size:.0f}{unit}"
    return f"{count:.3g}" if count != int(count) else str(int(count))


def format_seconds(seconds: float) -> str:
    """Write a time in three digits with its unit: 0.00123 is ``1.23ms``, 90 is ``1.5min``."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:
            return f"{seconds / size:.3g}{unit}" if seconds < 999.5 * size else f"{seconds / size:.0f}{unit}"
    return f"{seconds * 1e6:.3g}us"


def counted(count: int, noun: str) -> str:
    """Return a count and what is counted: «1 network», «2 networks»."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def format_milliseconds(seconds: float) -> str:
    """Write a short time in milliseconds, in three digits: 0.0023614 is ``2.36 ms``, 12.5 is ``12500 ms``."""
    return f"{1e3 * seconds:.3g} ms" if seconds < 0.9995 else f"{1e3 * seconds:.0f} ms"


def listed(names: list[str]) -> str:
    """Return names as a sentence lists them: «a», «a and b», «a, b and c»."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
