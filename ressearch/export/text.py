"""Python expressions as text: calls on one line where they fit, else one argument per line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import nn

from ressearch.export.units import is_number, numbers
from ressearch.networks.source import Call

LINE = 100
"""The longest line."""


class Expression(NamedTuple):
    """``head(argument, …)``, or where there are no brackets (`arguments` is None) the text `head` itself."""

    head: str
    arguments: tuple[Expression, ...] | None = None
    is_tall: bool = False

    @property
    def line(self) -> str:
        """The expression on one line."""
        if self.arguments is None:
            return self.head
        return f"{self.head}({', '.join(one.line for one in self.arguments)})"


def lay_out(expression: Expression, indent: int, before: str = "", after: str = "") -> list[str]:
    """Return an expression's lines, between `before` and `after`; tall ones: one argument per line."""
    space, line = " " * indent, expression.line
    if expression.arguments is None or (
        not _has_tall(expression) and len(space + before + line + after) <= LINE and "\n" not in line
    ):
        return [f"{space}{before}{line}{after}"]
    inner = [line for one in expression.arguments for line in lay_out(one, indent + 4, after=",")]
    return [f"{space}{before}{expression.head}(", *inner, f"{space}){after}"]


def _has_tall(expression: Expression) -> bool:
    arguments = expression.arguments or ()
    return bool(arguments) and (expression.is_tall or any(map(_has_tall, arguments)))


def class_name(target: type[nn.Module]) -> str:
    """Return what a module class is called in the code."""
    return f"nn.{target.__name__}" if target.__module__.startswith("torch.nn") else target.__name__.lstrip("_")


def written_call(call: Call, texts: Iterator[str] | None = None) -> Expression:
    """Return a call as an expression.

    Args:
        call: what is called.
        texts: of its numbers, in the order of `numbers`; None writes them as they are.
    """
    texts = iter([repr(value) for _, value in numbers((call,))]) if texts is None else texts
    arguments = []
    for at, (name, value) in enumerate(call.arguments):
        if isinstance(value, Call):
            one = written_call(value, texts)
        else:
            one = Expression(next(texts) if is_number(value) else repr(value))
        if at < call.positional:
            arguments.append(one)
        elif one.head != repr(value) or not call.is_default(name, value):
            arguments.append(one._replace(head=f"{name}={one.head}"))
    return Expression(class_name(call.target), tuple(arguments))


def sequential(parts: Sequence[Expression]) -> Expression:
    """Return ``nn.Sequential`` of parts, one per line."""
    return Expression("nn.Sequential", tuple(parts), is_tall=True)


def values(series: Sequence[float]) -> str:
    """Return numbers as what a loop runs over."""
    steps = {after - before for before, after in itertools.pairwise(series)}
    if len(series) > 2 and len(steps) == 1 and all(isinstance(one, int) for one in series):
        step = steps.pop()
        return f"range({series[0]}, {series[-1] + (1 if step > 0 else -1)}, {step})"
    return f"({', '.join(map(repr, series))}{',' if len(series) == 1 else ''})"


def without_underscores(source: str, name: str) -> str:
    """Return a class's text with the name that it has in the code."""
    return re.sub(rf"\b{name}\b", name.lstrip("_"), source)
