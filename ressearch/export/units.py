"""Classes for a network's residual units, in the code that `ressearch.export.code` writes.

Units that differ in numbers alone are one class; the numbers that differ become its parameters. Where they follow from
the unit's channels (a quarter, four times) they are written so. Shortcuts that only some units have are chosen by what
the class is given, as a person would write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ressearch.networks.merges import Place
from ressearch.networks.plan import Residual
from ressearch.networks.source import Call, Meeting
from ressearch.shapes import Shape

Number = int | float

_WIDTHS = {"in_channels", "out_channels", "in_features", "out_features", "num_features", "num_channels", "width"}
_WIDTHS |= {"normalized_shape", "extra"}
"""Arguments that count channels: they are written by way of the unit's own."""

_NAMES = dict.fromkeys(_WIDTHS, "inner_width") | {"p": "rate"}
"""What a parameter is called if its argument's name says too little."""

_FACTORS = (2, 3, 4, 6, 8, 16, 32, 64)


class Written(NamedTuple):
    """A residual unit as calls, and what enters and leaves it.

    Attributes:
        parts: calls of ``before``, ``branch`` and ``after``.
        shortcut: calls on x.
        meeting: how the two meet; None where there is no way around.
        in_width, width: channels that enter and leave.
        is_strided: whether the sides shrink.
    """

    parts: tuple[tuple[str, tuple[Call, ...]], ...]
    shortcut: tuple[Call, ...]
    meeting: Meeting | None
    in_width: int
    width: int
    is_strided: bool

    @property
    def skeleton(self) -> Any:
        """What units of one class have in common."""
        parts = tuple((name, tuple(map(skeleton, calls))) for name, calls in self.parts)
        if self.meeting is None:
            return parts, None
        own = self.meeting.module
        return parts, (self.meeting.expression, None if own is None else skeleton(own))

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call but the shortcut's."""
        own = (self.meeting.module,) if self.meeting is not None and self.meeting.module is not None else ()
        return (*(one for _, calls in self.parts for one in calls), *own)


def written(unit: Residual, place: Place, modality: str, shape: Shape) -> Written:
    """Return a unit as calls, for inputs of `shape`."""
    _, out = unit.trace(shape)
    channels = 0 if modality == "image" else -1
    parts = tuple(
        (name, tuple(layer.source() for layer in getattr(unit, name))) for name in ("before", "branch", "after")
    )
    meeting = unit.merge.source(place, modality) if unit.merge is not None else None
    shortcut = tuple(layer.source() for layer in unit.shortcut)
    return Written(
        parts, shortcut, meeting, shape[channels], out[channels], modality == "image" and out[1:] != shape[1:]
    )


def skeleton(call: Call) -> Any:
    """Return a call without its numbers."""
    return call.target, tuple((name, _bone(value)) for name, value in call.arguments)


def _bone(value: Any) -> Any:
    if isinstance(value, Call):
        return skeleton(value)
    return None if is_number(value) else value


def is_number(value: Any) -> bool:
    """Return whether a value may differ between units of one class."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numbers(calls: Sequence[Call]) -> Iterator[tuple[str, Number]]:
    """Yield the numbers of calls with their arguments' names, always in the same order."""
    for one in calls:
        for name, value in one.arguments:
            if isinstance(value, Call):
                yield from numbers((value,))
            elif is_number(value):
                yield name, value


@dataclass
class UnitClass:
    """A class of the code: the units it stands for, its parameters, and how each number is written.

    Attributes:
        units: every unit of it, each with the index of its shortcut's form in `shortcuts`.
        shortcuts: forms of the shortcut, as (condition, calls of the first unit, texts of their numbers).
        parameters: values by name, one per unit.
        texts: of the numbers of `Written.calls`.
    """

    units: list[Written]
    name: str = ""
    parameters: dict[str, list[Number]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    shortcuts: list[tuple[str, tuple[Call, ...], list[str]]] = field(default_factory=list)

    def settle(self) -> bool:
        """Find parameters, texts and shortcuts; returns False if the shortcuts' forms cannot be told apart."""
        self._pools: dict[str, list[Number]] = {}
        own = [list(numbers(unit.calls)) for unit in self.units]
        wanted = [(own[0][at][0], [one[at][1] for one in own]) for at in range(len(own[0]))]
        everywhere = list(range(len(self.units)))
        self._ends()
        self.texts = [self._text(name, values, everywhere) for name, values in wanted]
        forms: dict[Any, list[int]] = {}
        for at, unit in enumerate(self.units):
            forms.setdefault(tuple(map(skeleton, unit.shortcut)), []).append(at)
        rest = everywhere
        for _, members in sorted(forms.items(), key=lambda item: -len(item[0])):
            condition = ""
            if len(members) < len(rest):
                found = self._condition(members, rest)
                if found is None:
                    return False
                condition = found
            self._add_shortcut(condition, members)
            rest = [at for at in rest if at not in members]
        return True

    def _ends(self) -> None:
        """Offer the unit's own channels as parameters; what no text uses is dropped at the end."""
        ends = {"in_width": [unit.in_width for unit in self.units], "width": [unit.width for unit in self.units]}
        if ends["in_width"] == ends["width"]:
            del ends["in_width"]
        self._pools |= {name: list(values) for name, values in ends.items() if len(set(values)) > 1}

    def _text(self, name: str, values: Sequence[Number], members: Sequence[int]) -> str:
        """Return how numbers of some units are written in the class: as a literal, or by way of a parameter."""
        if len(set(values)) == 1:
            if name == "stride" and [self._pools.get(name, [])[at : at + 1] for at in members] == [
                [one] for one in values
            ]:
                return self._use(name)  # of shortcuts that strided units alone have
            return repr(values[0])
        pools = {key: [pool[at] for at in members] for key, pool in self._pools.items()}
        counts_channels = name in _WIDTHS or name == "num_groups" or name == "groups"
        alike = [key for key in pools if (key in ("in_width", "width", "inner_width")) == counts_channels]
        for key in [key for key in alike if key == name] + [key for key in alike if key != name]:
            if pools[key] == list(values) and (counts_channels or key.rstrip("_0123456789") == _NAMES.get(name, name)):
                return self._use(key)
        if counts_channels or name == "padding":
            related = alike if counts_channels else [key for key in pools if key.startswith("kernel_size")]
            for key in related:
                if (found := _relation(key, pools[key], values)) is not None:
                    self._use(key)
                    return found
        if len(members) < len(self.units):
            raise LookupError
        return self._use(self._new(_NAMES.get(name, name), values))

    def _new(self, name: str, values: Sequence[Number]) -> str:
        fresh, count = name, 2
        while fresh in self._pools:
            fresh, count = f"{name}_{count}", count + 1
        self._pools[fresh] = list(values)
        return fresh

    def _use(self, key: str) -> str:
        self.parameters[key] = self._pools[key]
        self.parameters = {name: self._pools[name] for name in self._pools if name in self.parameters}
        return key

    def _condition(self, members: Sequence[int], rest: Sequence[int]) -> str | None:
        """Return what is true of these units and false of the others, in the class's parameters."""
        stride = next((key for key in self._pools if key == "stride"), None)
        tests = {}
        if stride is not None:
            tests["stride != 1"] = [self._pools[stride][at] != 1 for at in rest]
        if {"in_width", "width"} <= set(self._pools):
            tests["in_width != width"] = [self.units[at].in_width != self.units[at].width for at in rest]
        if len(tests) == 2:
            tests["stride != 1 or in_width != width"] = [a or b for a, b in zip(*tests.values(), strict=True)]
        wanted = [at in members for at in rest]
        for text, holds in tests.items():
            if holds == wanted:
                for key in ("in_width", "width", "stride"):
                    if key in text.split():
                        self._use(key)
                return text
        return None

    def _add_shortcut(self, condition: str, members: Sequence[int]) -> None:
        calls = [self.units[at].shortcut for at in members]
        own = [list(numbers(one)) for one in calls]
        texts = [self._text(own[0][at][0], [one[at][1] for one in own], members) for at in range(len(own[0]))]
        self.shortcuts.append((condition, calls[0], texts))

    def arguments(self, at: int) -> dict[str, Number]:
        """Return what the class is given for one of its units."""
        return {name: values[at] for name, values in self.parameters.items()}


def _relation(key: str, pool: Sequence[Number], values: Sequence[Number]) -> str | None:
    """Return values as a multiple or fraction of a parameter's; None if they are neither."""
    for factor in _FACTORS:
        if all(value == factor * one for one, value in zip(pool, values, strict=True)):
            return f"{factor} * {key}"
    for factor in _FACTORS:
        if all(value == one // factor for one, value in zip(pool, values, strict=True)):
            return f"{key} // {factor}"
    return None


def classes(units: Sequence[Written]) -> tuple[list[UnitClass], list[tuple[UnitClass, int]]]:
    """Return the classes that units need, and for each unit its class and its place among the class's units."""
    groups: dict[Any, list[int]] = {}
    for at, unit in enumerate(units):
        groups.setdefault(unit.skeleton, []).append(at)
    found: list[UnitClass] = []
    where: dict[int, tuple[UnitClass, int]] = {}
    for members in groups.values():
        for kind, those in _settled(units, members):
            found.append(kind)
            where.update({at: (kind, place) for place, at in enumerate(those)})
    return found, [where[at] for at in range(len(units))]


def _settled(units: Sequence[Written], members: Sequence[int]) -> Iterator[tuple[UnitClass, Sequence[int]]]:
    """Yield one class of all, or where the shortcuts cannot be told apart one for each form of shortcut."""
    one = UnitClass([units[at] for at in members])
    try:
        if one.settle():
            yield one, members
            return
    except LookupError:  # a number of a shortcut that follows from nothing
        pass
    forms: dict[Any, list[int]] = {}
    for at in members:
        forms.setdefault(tuple(map(skeleton, units[at].shortcut)), []).append(at)
    for those in forms.values():
        kind = UnitClass([units[at] for at in those])
        kind.settle()
        yield kind, those


def name_classes(found: Sequence[UnitClass], base: Mapping[int, str]) -> None:
    """Give each class a name; `base` says the block's by the class's place."""
    taken: set[str] = set()
    for at in sorted(range(len(found)), key=lambda one: -len(found[one].units)):
        kind, name = found[at], base[at]
        if name in taken and all(unit.is_strided for unit in kind.units):
            name = f"Downsampling{base[at]}"
        elif name in taken and all(unit.in_width != unit.width for unit in kind.units):
            name = f"Widening{base[at]}"
        count, first = 2, name
        while name in taken:
            name, count = f"{first}{count}", count + 1
        taken.add(name)
        kind.name = name
