"""From points of a space to networks: styles, depths, widths and exact costs of many points at once.

Points whose networks are sections one after another (`ressearch.spaces.sections`) are resolved together, the others
(widths matched to a cost, RegNet's parameters, widths that follow from a growth rate) one by one. Some random points
are resolved both ways; should one differ, all are resolved one by one, so that what is returned is exact either way.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ressearch.errors import ArchitectureError, BudgetError
from ressearch.limits import MOST_BLOCKS
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Cost, cost
from ressearch.networks.families import widths_for
from ressearch.networks.plan import Part
from ressearch.shapes import Shape
from ressearch.spaces.domains import REGNET_KEYS, Choice
from ressearch.spaces.points import Question, Values, answers, is_asked, questions, stages_of
from ressearch.spaces.sections import Rows, Sections, Style, add_up, pack
from ressearch.spaces.space import SearchSpace, assemble
from ressearch.spaces.trials import FixedTrial

_SIZES = ("depth", "blocks_per_stage", "width", "depths", "widths", "stages")
"""Keys that say nothing but how many blocks, channels or stages there are."""

_CHECKED = 200
"""Points that are resolved both ways."""

_FEW = 8
"""Numbers of an option that are styles of their own."""


class Resolved(NamedTuple):
    """The networks of some points, one per point.

    Attributes:
        rows: style, depths and widths.
        costs: shape (points, fields of a `Cost`).
        is_network: whether there is a network at all, within the space's budget or not.
        identity: equal numbers are equal networks.
        sections: of the styles.
    """

    rows: Rows
    costs: NDArray[np.int64]
    is_network: NDArray[np.bool_]
    identity: NDArray[np.int64]
    sections: Sections


def is_loose(question: Question) -> bool:
    """Return whether a question's numbers are taken to change no cost, and so not to make styles of their own."""
    is_tuning = question.key == "dropout" or question.parent is not None
    return (
        is_tuning and not isinstance(question.domain, Choice) and (question.is_endless or question.domain.size > _FEW)
    )


def resolve(space: SearchSpace, values: Values, seed: int) -> Resolved:
    """Return the networks of points of `space`; `seed` chooses those that are resolved both ways."""
    points = _Points(space, values)
    if any(key in space.parameters for key in REGNET_KEYS) or space.match is not None or points.has_endless_style:
        return points.one_by_one()
    found = points.together()
    chosen = np.random.default_rng(seed).permutation(points.count)[:_CHECKED]
    return found if all(points.agrees(found, row) for row in chosen) else points.one_by_one()


class _Points:
    def __init__(self, space: SearchSpace, values: Values) -> None:
        self._space, self._values, self._asked = space, values, questions(space)
        self.count = len(next(iter(values.values()))) if values else 1
        self._stages = stages_of(space, values, self.count)
        self._loose = [question for question in self._asked if is_loose(question)]
        self._styled = [one for one in self._asked if one.key not in _SIZES and one not in self._loose]

    @property
    def has_endless_style(self) -> bool:
        """Whether a continuous range changes what blocks are: then no two points share a style."""
        return any(question.is_endless for question in self._styled)

    def network(self, row: int) -> Architecture | None:
        """Return a point's network; None if it is none or the space's budget forbids it."""
        try:
            return self._space.suggest(FixedTrial(answers(self._asked, self._values, row)))
        except (ArchitectureError, BudgetError):
            return None

    def _cost(self, network: Architecture) -> Cost:
        return cost(network, self._space.input_shape, self._space.num_classes)

    def agrees(self, found: Resolved, row: int) -> bool:
        """Return whether a point's network, made by itself, is what was found."""
        network = self.network(row)
        price = Cost(*found.costs[row].tolist())
        if network is None:
            return not found.is_network[row] or not self._space.budget.allows(price)
        stages = len(network.depths)
        depths, widths = (tuple(column[row, :stages].tolist()) for column in found.rows[1:])
        return bool(found.is_network[row]) and (depths, widths, price) == (
            network.depths,
            network.widths,
            self._cost(network),
        )

    def one_by_one(self) -> Resolved:
        """Make every network."""
        sections = Sections([], self._space.input_shape, self._space.num_classes)
        shape = (self.count, 0)
        rows = Rows(np.zeros(self.count, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64))
        nothing = np.zeros((self.count, len(Cost._fields)), np.int64)
        found = Resolved(rows, nothing, np.full(self.count, False), np.zeros(self.count, np.int64), sections)
        return self._make(found, np.arange(self.count))

    def _make(self, found: Resolved, chosen: NDArray[np.int64]) -> Resolved:
        """Fill in some points, whose networks are made."""
        networks = {int(row): network for row in chosen if (network := self.network(int(row))) is not None}
        most = max([found.rows.depths.shape[1], *(len(one.depths) for one in networks.values())])
        rows = Rows(found.rows.style, *(_widened(column, most) for column in found.rows[1:]))
        found.is_network[chosen] = False
        styles: dict[tuple[Any, ...], int] = {}
        known: dict[Architecture, int] = {}
        first = int(found.identity.max(initial=0)) + 1
        for row, network in networks.items():
            shared = {key: value for key, value in vars(network).items() if key not in ("depths", "widths")}
            stages = len(network.depths)
            key = (stages, *shared.values())
            if key not in styles:
                options = dict(shared.pop("skip_options"))
                styles[key] = found.sections.add(Style(shared, options, stages, network, False))
            rows.style[row] = styles[key]
            rows.depths[row, :stages], rows.widths[row, :stages] = network.depths, network.widths
            found.costs[row], found.is_network[row] = self._cost(network), True
            found.identity[row] = known.setdefault(network, first + len(known))
        return found._replace(rows=rows)

    def together(self) -> Resolved:
        """Put the networks together from sections, where they are such."""
        styles, style = self._styles()
        sections = Sections(styles, self._space.input_shape, self._space.num_classes)
        depths, is_network = self._depths(styles, style)
        widths = self._widths()
        most = max(depths.shape[1], widths.shape[1])
        depths, widths = _widened(depths, most), _widened(widths, most)
        is_network &= (np.count_nonzero(depths, 1) == np.count_nonzero(widths, 1)) & (depths.sum(1) <= MOST_BLOCKS)
        rows = Rows(style, depths, widths)
        is_network &= np.array([one.stages for one in styles])[style] == np.count_nonzero(depths, 1)
        is_regular = ~np.isin(style, list(sections.irregular))
        costs = np.zeros((self.count, len(Cost._fields)), np.int64)
        chosen = np.flatnonzero(is_network & is_regular)
        costs[chosen], is_network[chosen] = add_up(sections, Rows(*(one[chosen] for one in rows)), _price, costs[0])
        found = Resolved(rows, costs, is_network, self._identity(rows, styles), sections)
        odd = np.flatnonzero(np.isin(style, list(sections.irregular)))
        return self._make(found, odd) if len(odd) else found

    def _styles(self) -> tuple[list[Style], NDArray[np.int64]]:
        """Return the styles there are, and each point's."""
        stages = self._network_stages()
        code = pack((stages, *(self._values[one.name] for one in self._styled)))
        _, at, style = np.unique(code, return_index=True, return_inverse=True)
        return [self._style(int(row), int(stages[row])) for row in at], style

    def _network_stages(self) -> NDArray[np.int64]:
        """Return how many stages each point's network has: lists of depths are not stretched to others."""
        domain = self._space.parameters.get("depths")
        if not isinstance(domain, Choice):
            return self._stages
        lengths: NDArray[np.int64] = np.array([len(one) for one in domain.values])[self._values["depths"]]
        return lengths

    def _style(self, row: int, stages: int) -> Style:
        """Return a point's style; one that only some numbers of a continuous range have is irregular."""
        made = []
        for share in (0.5, 0.0, 1.0) if self._loose else (0.5,):
            fields: dict[str, Any] = {}
            options: dict[str, float] = {}
            for question in (*self._styled, *self._loose):
                if question.parent and self._values[question.parent[0]][row] != question.parent[1]:
                    continue
                value = self._values[question.name][row]
                if question in self._loose:
                    low, high = question.domain.low, question.domain.high  # type: ignore[union-attr]
                    value = low + share * (high - low)
                answer = question.answer(value)
                if question.parent:
                    options[question.name.rpartition(".")[2]] = answer
                else:
                    fields[question.key] = answer
            made.append(Style.of(fields, options, stages))
        exists = {one.example is not None for one in made}
        return made[0] if len(exists) == 1 else dataclasses.replace(made[0], is_regular=False)

    def _depths(self, styles: list[Style], style: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return blocks per stage, and whether there are such."""
        parameters = self._space.parameters
        if "depths" in parameters:
            return self._staged("depths"), np.full(self.count, True)
        if "depth" not in parameters:
            return self._uniform(self._number("blocks_per_stage", 3)), np.full(self.count, True)
        depth = self._number("depth", 0)
        _, at, which = np.unique(pack((style, depth)), return_index=True, return_inverse=True)
        blocks = np.array([_blocks(styles[style[row]], int(depth[row])) for row in at])[which]
        return self._uniform(blocks), blocks > 0

    def _widths(self) -> NDArray[np.int64]:
        if "widths" in self._space.parameters:
            return self._staged("widths")
        first = self._number("width", 16)
        most = int(self._stages.max(initial=1))
        widths: NDArray[np.int64] = self._uniform(first) * np.array(widths_for(1, most))
        return widths

    def _number(self, key: str, default: int) -> NDArray[np.int64]:
        domain = self._space.parameters.get(key)
        if isinstance(domain, Choice):
            chosen: NDArray[np.int64] = np.array(domain.values, np.int64)[self._values[key]]
            return chosen
        return self._values[key].astype(np.int64) if domain is not None else np.full(self.count, default)

    def _uniform(self, number: NDArray[np.int64] | int) -> NDArray[np.int64]:
        is_stage = np.arange(int(self._stages.max(initial=1))) < self._stages.reshape(-1, 1)
        return np.where(is_stage, np.reshape(np.asarray(number, np.int64), (-1, 1)), 0)

    def _staged(self, key: str) -> NDArray[np.int64]:
        """Return a column per stage of depths or widths that are drawn stage by stage, or chosen as lists."""
        domain = self._space.parameters[key]
        if isinstance(domain, Choice):
            most = max(len(one) for one in domain.values)
            table = np.array([(*one, *[0] * (most - len(one))) for one in domain.values], np.int64)
            chosen: NDArray[np.int64] = table[self._values[key]]
            return chosen
        drawn = [one for one in self._asked if one.key == key]
        return np.column_stack([self._values[one.name] * is_asked(one, self._values, self._stages) for one in drawn])

    def _identity(self, rows: Rows, styles: list[Style]) -> NDArray[np.int64]:
        """Return equal numbers for equal networks: styles may have other fields and make the same."""
        known: dict[tuple[Any, ...], int] = {}
        same = np.array([known.setdefault(_resolved(style), len(known)) for style in styles])[rows.style]
        tuned = [self._values[question.name] for question in self._loose]
        return np.unique(pack((same, *rows.depths.T, *rows.widths.T, *tuned)), return_inverse=True)[1]


def _blocks(style: Style, depth: int) -> int:
    """Return the blocks of each stage in a network of the papers' `depth`, 0 if there is none."""
    try:
        return assemble({**style.fields, "depth": depth}, style.stages, style.options).depths[0]
    except ArchitectureError:
        return 0


def _resolved(style: Style) -> tuple[Any, ...]:
    """Return what sets a style's networks apart from those of others, depths and widths aside."""
    left_out = {"depths", "widths"} | ({"stem_width"} - set(style.fields))
    if style.example is None:
        return ()
    return style.stages, *(value for key, value in vars(style.example).items() if key not in left_out)


def _price(part: Part, shape: Shape) -> Cost:
    return part.trace(shape)[0]


def _widened(column: NDArray[np.int64], stages: int) -> NDArray[np.int64]:
    return np.pad(column, ((0, 0), (0, stages - column.shape[1])))
