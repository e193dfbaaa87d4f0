"""Which choices go together: combinations that are not compatible are refused here, by name and with the reason.

Blocks, skips, shortcuts and stems declare their own `Rule`s where they are registered (`only`, `never`); `check` holds
an architecture's fields against them. A search space proposes nothing that is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ressearch.errors import ArchitectureError


class Rule(NamedTuple):
    """The values of a field that have a meaning (or have none, if `is_refusal`), and why."""

    field: str
    values: tuple[Any, ...]
    is_refusal: bool
    reason: str

    def allows(self, value: object) -> bool:
        """Return whether `value` has a meaning."""
        return (value in self.values) != self.is_refusal


def only(field: str, *values: Any, because: str) -> Rule:
    """Return the rule that `field` must be one of `values`."""
    return Rule(field, values, False, because)


def never(field: str, *values: Any, because: str) -> Rule:
    """Return the rule that `field` must be none of `values`."""
    return Rule(field, values, True, because)


NO_PIXELS = (
    only("kernel_size", 1, because="it has no spatial convolution"),
    only("se_ratio", 0.0, because="squeeze-excitation averages over pixels, and it has none"),
    never("shortcut", "avgpool_projection", because="it has no pixels to pool"),
)
"""The rules of blocks that work on vectors or sequences."""


def check(fields: object, sides: Iterable[tuple[str, str, tuple[Rule, ...]]]) -> None:
    """Hold an architecture against the rules of its parts, each a (kind, name, rules), such as ("skip", "fixup", …).

    Raises ArchitectureError naming both choices, the reason and what to use.
    """
    for kind, name, rules in sides:
        for rule in rules:
            value = getattr(fields, rule.field)
            if not rule.allows(value):
                expected = "" if rule.is_refusal else f"; expected {' or '.join(_text(one) for one in rule.values)}"
                raise ArchitectureError(
                    f"{rule.field}: {_text(value)} is not compatible with {kind} '{name}': {rule.reason}{expected}"
                )


def _text(value: object) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else f"'{value}'"
