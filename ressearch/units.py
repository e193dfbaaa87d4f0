"""Numbers as people write them: counts (``40M``) and durations (``2h``), read and written."""

from __future__ import annotations

import math

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def parse_count(value: object) -> int:
    """Read a count such as ``40M``, ``1.5k``, ``2e6`` or ``400000``. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a count such as 400000 or 40M")
    text = str(value).strip().lower().replace("_", "")
    unit = text[-1:] if text[-1:] in _UNITS and text[-1:].isalpha() else ""
    try:
        count = float(text.removesuffix(unit)) * _UNITS[unit]
    except ValueError:
        raise ValueError(f"{value!r} is not a count such as 400000 or 40M") from None
    if not (count > 0 and math.isfinite(count)):
        raise ValueError(f"{value!r} is not a positive count")
    return round(count)


_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> float:
    """Read a time such as ``90``, ``45s``, ``30m``, ``2h`` or ``1d`` in seconds. Raises ValueError for others."""
    text = str(value).strip().lower()
    unit = text[-1:] if text[-1:] in _SECONDS else ""
    try:
        seconds = float(text.removesuffix(unit)) * _SECONDS.get(unit, 1.0)
    except ValueError:
        seconds = math.nan
    if isinstance(value, bool) or not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"{value!r} is not a time such as 90, 30m or 2h")
    return seconds


def format_count(count: float) -> str:
    """Write a count in three digits with its unit: 855770 is ``856k``, 125747850 is ``126M``."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}" if count < 999.5 * size else f"{count / size:.0f}{unit}"
    return f"{count:.3g}" if count != int(count) else str(int(count))
