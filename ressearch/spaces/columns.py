"""Columns: a million networks of a search space at once, as numpy columns with their exact costs.

`columns` draws points, or takes them all where the space is small enough, drops those that are no networks, that cost
more than the space's budget or that were there before, and costs the others as `ressearch.cost` does, to the last
digit: from the plans of real networks, each distinct stage planned once (`ressearch.spaces.sections`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ressearch.errors import SpaceError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import Budget, Cost, input_channels
from ressearch.networks.plan import Part, plan
from ressearch.shapes import Shape
from ressearch.spaces.points import (
    Question,
    Values,
    answers,
    grid_points,
    is_asked,
    questions,
    random_points,
    stages_of,
)
from ressearch.spaces.resolve import is_loose, resolve
from ressearch.spaces.sections import Rows, Sections, Style, add_up
from ressearch.spaces.space import SearchSpace
from ressearch.spaces.trials import FixedTrial


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """Distinct networks of a space, a row for each: ``found[found.cost.macs < 1e6]`` selects by a mask, or by indices.

    Attributes:
        space: the networks' space.
        values: what a trial would have answered, by name (``block``, ``depths[0]``, ``scaled.alpha``): the index of a
            choice, the number of a range; 0 where it would not have been asked.
        rows: style, depths and widths of each network.
        cost: `ressearch.Cost` whose four fields are columns of whole numbers.
    """

    space: SearchSpace
    values: Values
    rows: Rows
    cost: Cost
    _sections: Sections
    _asked: list[Question]

    def __len__(self) -> int:
        return len(self.rows.style)

    def __getitem__(self, chosen: Any) -> Columns:
        return dataclasses.replace(
            self,
            values={name: column[chosen] for name, column in self.values.items()},
            rows=Rows(*(column[chosen] for column in self.rows)),
            cost=_columns_of(np.column_stack(self.cost)[chosen]),
        )

    def within(self, budget: Budget) -> NDArray[np.bool_]:
        """Return which networks are within a budget, exactly as `Budget.allows` says of each."""
        return within(self.cost, budget)

    def architecture(self, row: int) -> Architecture:
        """Return the network of a row."""
        return self.space.suggest(FixedTrial(answers(self._asked, self.values, row)))

    def field(self, key: str) -> NDArray[Any]:
        """Return a field of the networks, or an option of their skip styles (None where a style has none), as a column.

        Depths and widths are in `rows`.
        """
        values, which = self.coded(key)
        column = np.empty(len(values), object)
        column[:] = values
        chosen: NDArray[Any] = column[which]
        return chosen

    def coded(self, key: str) -> tuple[list[Any], NDArray[np.int64]]:
        """Return a field as `field` does, in two parts: its values, and the index of each network's."""
        values = [_field(style, key) for style in self._sections.styles]
        which = self.rows.style
        for question in self._asked:
            if is_loose(question) and question.name.rpartition(".")[2] == key:
                asked = np.flatnonzero(is_asked(question, self.values, stages_of(self.space, self.values, len(self))))
                which = which.copy()
                which[asked] = len(values) + np.arange(len(asked))
                values += self.values[question.name][asked].tolist()
        return values, which

    def total(self, value: Callable[[Part, Shape], float]) -> NDArray[np.float64]:
        """Return, for each network, the sum of what its parts are worth.

        Args:
            value: of one part (stem, transition, block or head), given the shape of the input that enters it. The
                numbers of continuous ranges over options and dropout are taken not to matter to it.

        The parts are those of `ressearch.networks.plan.Plan.parts`, each as often as it stands there.
        """
        sums = np.zeros(len(self))
        is_regular = ~np.isin(self.rows.style, list(self._sections.irregular))
        regular = Rows(*(column[is_regular] for column in self.rows))
        sums[is_regular], _ = add_up(self._sections, regular, value, np.zeros(()))
        for row in np.flatnonzero(~is_regular):
            sums[row] = _worth(self.architecture(int(row)), self.space, value)
        return sums


def columns(space: SearchSpace, n: int, seed: int = 0) -> Columns:
    """Return the networks of `n` points of `space`, distinct ones within its budget: all there are if it has no more.

    Args:
        space: which networks.
        n: how many points. A space of as many or fewer is taken whole, in the order of `SearchSpace.enumerate`; of a
            larger one so many are drawn at random, each key evenly, as `SearchSpace.sample` draws.
        seed: of the draws.

    Returns:
        At most `n` rows: points that are no networks, that cost more than the space's budget, or whose network is an
        earlier row are dropped.

    Raises:
        SpaceError: `n` is below 1.

    Examples:
        >>> found = columns(SearchSpace({"depth": [8, 14], "width": {"low": 4, "high": 8}}), 1000)
        >>> len(found), found.cost.params[:2].tolist(), found.architecture(0).widths
        (10, [5214, 8005], (4, 8, 16))
    """
    if n < 1:
        raise SpaceError(f"n: {n} is not a number of points; expected at least 1")
    values = grid_points(space) if space.size <= n else random_points(space, n, seed)
    found = resolve(space, values, seed)
    is_kept = found.is_network & within(_columns_of(found.costs), space.budget)
    kept = np.flatnonzero(is_kept)
    _, first = np.unique(found.identity[kept], return_index=True)
    kept = kept[np.sort(first)]
    return Columns(
        space,
        {name: column[kept] for name, column in values.items()},
        Rows(*(column[kept] for column in found.rows)),
        _columns_of(found.costs[kept]),
        found.sections,
        questions(space),
    )


def within(cost: Cost, budget: Budget) -> NDArray[np.bool_]:
    """Return which costs, given as columns, are within every bound of a budget."""
    is_within = np.full(np.shape(cost.params), True)
    for name, bound in budget.bounds.items():
        is_within &= np.asarray(budget.value(cost, name)) <= bound
    return is_within


def _columns_of(costs: NDArray[np.int64]) -> Cost:
    """Return a `Cost` of columns."""
    fields: Any = costs.T
    return Cost(*fields)


def _field(style: Style, key: str) -> Any:
    if style.example is None:
        return None
    if hasattr(style.example, key):
        return getattr(style.example, key)
    return dict(style.example.skip_options).get(key)


def _worth(network: Architecture, space: SearchSpace, value: Callable[[Part, Shape], float]) -> float:
    shape, total = tuple(space.input_shape), 0.0
    for part, count in plan(network, input_channels(shape), space.num_classes).parts:
        total += count * value(part, shape)
        _, shape = part.trace(shape)
    return total
