"""How a layer is written in Python: a call that makes its module, kept as values, so that it can be printed.

Every layer returns a `Call` from `source`; `ressearch.export.code` writes files of them. The class that is called is
torch's own or one that needs torch alone: its text is copied into the file.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a module class.

    Attributes:
        target: the class: one of ``torch.nn``, or one whose text needs `torch`, `nn`, `functional` and `Tensor` alone.
        positional: how many of the arguments are written without their names.
        arguments: (name, value) as they were given; values are numbers, texts, None, tuples of them, and calls.
    """

    target: type[nn.Module]
    positional: int
    arguments: tuple[tuple[str, Any], ...]

    def module(self) -> nn.Module:
        """Carry the call out."""
        values = [value.module() if isinstance(value, Call) else value for _, value in self.arguments]
        names = [name for name, _ in self.arguments]
        named = dict(zip(names[self.positional :], values[self.positional :], strict=True))
        return self.target(*values[: self.positional], **named)

    def is_default(self, name: str, value: Any) -> bool:
        """Return whether an argument is what it would be were it left out."""
        return bool(inspect.signature(self.target).parameters[name].default == value)

    @property
    def calls(self) -> Iterator[Call]:
        """This call and those within its arguments."""
        yield self
        for _, value in self.arguments:
            if isinstance(value, Call):
                yield from value.calls


def call(target: type[nn.Module], *positional: Any, **named: Any) -> Call:
    """Return the call of a class with these arguments. Raises TypeError as the class would for wrong ones."""
    bound = inspect.signature(target).bind(*positional, **named)
    given = [(name, value) for name, value in bound.arguments.items() if name not in named]
    return Call(target, len(given), (*given, *named.items()))


class Meeting(NamedTuple):
    """How a merge is written.

    Attributes:
        expression: of ``x``, ``shortcut``, ``residual`` and, if it has a module of its own, ``self.merge``.
        module: what ``self.merge`` is; None where there is none.
    """

    expression: str
    module: Call | None = None
