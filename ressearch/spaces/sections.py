"""Sections: the stages of many networks, each distinct one planned once.

A network's plan is its stages one after another. What a stage holds depends on the network's style (all that is no
depth and no width), on the channels before and after it, and on its blocks; and a further block is always the same. So
a few thousand sections, each taken from the plan of a real `Architecture`, make up a million networks.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ressearch.errors import ArchitectureError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import check_input, input_channels
from ressearch.networks.plan import Part, section
from ressearch.networks.skips import get_skip
from ressearch.shapes import Shape

Value = Callable[[Part, Shape], Any]
"""What one part is worth for an input of a shape: a number, or several."""

Counted = tuple[tuple[Part, Shape, int], ...]
"""Parts with the shape that enters each, and how many of them there are."""

_PROVEN = 3
"""Sections of a style's stage whose third block is planned too, to see that it adds what the second did."""


@dataclass(frozen=True, eq=False)
class Style:
    """What networks share that differ in depths and widths alone.

    Attributes:
        fields: arguments of an Architecture but depths, widths and skip options.
        options: of the skip style.
        stages: how many.
        example: some network of the style; None if there is none.
        is_regular: whether its networks are sections one after another.
    """

    fields: Mapping[str, Any]
    options: Mapping[str, float]
    stages: int
    example: Architecture | None
    is_regular: bool

    @classmethod
    def of(cls, fields: Mapping[str, Any], options: Mapping[str, float], stages: int) -> Style:
        """Find out what a style is like."""
        style = cls(fields, options, stages, None, True)
        if "growth_rate" in options:  # `assemble` leaves the widths to the style
            return cls(fields, options, stages, None, False)
        try:
            example = style.network((16,) * stages)
        except ArchitectureError:
            return style
        derived = get_skip(example.skip, example.skip_options).widths(example.stem_width, example.depths)
        return cls(fields, options, stages, example, derived is None)

    def network(self, widths: tuple[int, ...]) -> Architecture:
        """Return the style's network of these widths, with one block in each stage. Raises ArchitectureError."""
        return Architecture(**self.fields, skip_options=self.options, depths=(1,) * self.stages, widths=widths)  # type: ignore[arg-type]


class Section(NamedTuple):
    """One stage, with the stem if it is the first and the head if it is the last.

    Attributes:
        first: its parts, if it has one block; None if that is no network.
        further: what each further block adds; None if more than one block are no network.
        out: the shape that leaves it.
    """

    first: Counted | None
    further: Counted | None
    out: Shape


REFUSED = Section(None, None, ())


class Sections:
    """Every section that was asked for, planned once.

    Args:
        styles: the networks' styles; more may be appended.
        input_shape: as in `ressearch.cost`.
        num_classes: as in `ressearch.cost`.
    """

    def __init__(self, styles: list[Style], input_shape: Shape, num_classes: int | None) -> None:
        self.styles = styles
        self._shape, self._classes = tuple(input_shape), num_classes
        self._known: dict[tuple[int, int, int, int], Section] = {}
        self._entered: dict[tuple[int, int], Shape] = {}
        self._proven: Counter[tuple[int, int]] = Counter()
        self.irregular = {at for at, style in enumerate(styles) if not style.is_regular}
        """Styles whose networks are no sections one after another."""

    def add(self, style: Style) -> int:
        """Take in a style whose networks are made one by one, and return its index."""
        self.styles.append(style)
        self.irregular.add(len(self.styles) - 1)
        return len(self.styles) - 1

    def find(self, style: int, stage: int, before: int, width: int) -> Section:
        """Return a section, given the widths of the stage before (0 for the first stage) and of its own."""
        key = (style, stage, before, width)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._plan(*key)
        return known

    def _plan(self, style: int, stage: int, before: int, width: int) -> Section:
        stages = self.styles[style].stages
        shape = self._shape if stage == 0 else self._entered.get((style, stage))
        if shape is None:  # nothing leaves the stage before
            return REFUSED
        try:
            network = self.styles[style].network((before,) * stage + (width,) * (stages - stage))
            if stage == 0:
                check_input(network, shape)
            else:
                shape = (before, *shape[1:]) if len(shape) == 3 else (*shape[:-1], before)
            first, out = self._parts(network, stage, 1, shape)
        except ArchitectureError:
            return REFUSED
        if _sides(self._entered.setdefault((style, stage + 1), out)) != _sides(out):
            self.irregular.add(style)
        try:
            two, _ = self._parts(network, stage, 2, shape)
        except ArchitectureError:
            return Section(_counted(first), None, out)
        further = two - first
        if first + further != two or not self._is_proven(style, network, stage, shape, two + further):
            self.irregular.add(style)
        return Section(_counted(first), _counted(further), out)

    def _is_proven(
        self, style: int, network: Architecture, stage: int, shape: Shape, three: Counter[tuple[Part, Shape]]
    ) -> bool:
        """Return whether three blocks are what they are expected to be, as far as it is looked at."""
        self._proven[style, stage] += 1
        if self._proven[style, stage] > _PROVEN:
            return True
        try:
            return self._parts(network, stage, 3, shape)[0] == three
        except ArchitectureError:
            return False

    def _parts(
        self, network: Architecture, stage: int, blocks: int, shape: Shape
    ) -> tuple[Counter[tuple[Part, Shape]], Shape]:
        counted: Counter[tuple[Part, Shape]] = Counter()
        for part, count in section(network, stage, blocks, input_channels(self._shape), self._classes):
            counted[part, shape] += count
            _, shape = part.trace(shape)
        return counted, shape


def _counted(parts: Counter[tuple[Part, Shape]]) -> Counted:
    return tuple((part, shape, count) for (part, shape), count in parts.items())


def _sides(shape: Shape) -> Shape:
    return shape[1:] if len(shape) == 3 else shape[:-1]


class Rows(NamedTuple):
    """Networks as styles, depths and widths; stages that a network does not have are 0.

    Attributes:
        style: index of each network's style, shape (networks,).
        depths: blocks, shape (networks, stages).
        widths: output channels, shape (networks, stages).
    """

    style: NDArray[np.int64]
    depths: NDArray[np.int64]
    widths: NDArray[np.int64]


def add_up(sections: Sections, rows: Rows, value: Value, like: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the sums of what the parts of each network are worth, and which rows are networks.

    Args:
        sections: of the styles of the rows.
        rows: the networks.
        value: of one part; anything that adds up over parts.
        like: zeros like one value; the sums are of its shape and kind.
    """
    stages = np.array([style.stages for style in sections.styles], np.int64)[rows.style]
    sums = np.zeros((len(rows.style), *like.shape), like.dtype)
    is_network = np.full(len(rows.style), True)
    for stage in range(rows.depths.shape[1]):
        chosen = np.flatnonzero(is_network & (stages > stage))
        if not len(chosen):
            continue
        before = rows.widths[chosen, stage - 1] if stage else np.zeros(len(chosen), np.int64)
        code = pack((rows.style[chosen], before, rows.widths[chosen, stage]))
        _, at, which = np.unique(code, return_index=True, return_inverse=True)
        keys = np.column_stack((rows.style[chosen], np.full(len(chosen), stage), before, rows.widths[chosen, stage]))[
            at
        ]
        with _no_collection():
            found = [sections.find(*key) for key in keys.tolist()]
        further = rows.depths[chosen, stage] - 1
        first, can_first = _worth([one.first for one in found], value, like)
        others, can_further = _worth([one.further for one in found], value, like)
        sums[chosen] += first[which] + others[which] * further.reshape(-1, *[1] * like.ndim)
        is_network[chosen] = can_first[which] & (can_further[which] | (further == 0))
    return sums, is_network


def _worth(
    counted: Sequence[Counted | None], value: Value, like: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return what each of some sets of parts is worth, and which of them there are."""
    known: dict[tuple[Part, Shape], int] = {}
    flat = [
        (at, known.setdefault((part, shape), len(known)), count)
        for at, parts in enumerate(counted)
        for part, shape, count in parts or ()
    ]
    sums = np.zeros((len(counted), *like.shape), like.dtype)
    if flat:
        worth = np.array([value(part, shape) for part, shape in known], like.dtype)
        at, which, count = np.array(flat, np.int64).T
        np.add.at(sums, at, worth[which] * count.reshape(-1, *[1] * like.ndim))
    return sums, np.array([parts is not None for parts in counted])


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Spare the garbage collector many looks at a hundred thousand sections, none of which is garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def pack(columns: tuple[NDArray[Any], ...]) -> NDArray[np.int64]:
    """Return one whole number for each row, equal where all columns are."""
    code = np.zeros(len(columns[0]), np.int64)
    most = 1
    for column in columns:
        if column.dtype.kind == "f" or column.min(initial=0) < 0 or column.max(initial=0) >= 2**20:
            _, column = np.unique(column, return_inverse=True)
        size = int(column.max(initial=0)) + 1
        if most * size >= 2**62:
            _, code = np.unique(code, return_inverse=True)
            most = int(code.max(initial=0)) + 1
        code = code * size + column
        most *= size
    return code
