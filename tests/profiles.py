"""How many examples Hypothesis draws, and from which seed: profiles `test`, `drawn` and `fuzz`, and `examples`, by
which a test states its number once for all three."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

FUZZ_FACTOR = 10
"""How many times the examples of `make test` the profile `fuzz` draws."""

_COMMON: dict[str, Any] = {
    "database": None,  # what an earlier run found decides nothing
    "deadline": None,  # a busy machine is no failure
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


def register() -> None:
    """Register the profiles and load `test`, which draws the same examples every time."""
    settings.register_profile("test", derandomize=True, **_COMMON)
    settings.register_profile("drawn", derandomize=False, **_COMMON)  # by --hypothesis-seed
    settings.register_profile("fuzz", derandomize=False, print_blob=True, **_COMMON)
    settings.load_profile("test")


def examples(count: int) -> settings:
    """Return settings for `count` examples, `FUZZ_FACTOR` times as many under the profile `fuzz`."""
    is_fuzz = settings.get_current_profile_name() == "fuzz"
    return settings(max_examples=count * (FUZZ_FACTOR if is_fuzz else 1))
