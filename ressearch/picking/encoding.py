"""Encodes networks as numbers, so that a regression can learn from those that a study trained.

What differs between the trained networks becomes a column: blocks and widths per stage in logs (one for all where they
go together), costs in logs, numbers as they are, and each named choice as 0 or 1. Columns are in units of their
standard deviation over the trained networks. A choice that none of them had has no column: it is foreign.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import cost
from ressearch.networks.skips import skip_options
from ressearch.shapes import Shape
from ressearch.spaces.columns import Columns

Floats = npt.NDArray[np.float64]

_NAMED = (
    "block",
    "skip",
    "shortcut",
    "stem",
    "norm",
    "norm_order",
    "activation",
    "se_position",
    "zero_gamma",
    "strides",
)
_NUMBERS = ("bottleneck_ratio", "group_width", "kernel_size", "se_ratio", "dropout", "head_width")
_IN_LOGS = ("bottleneck_ratio", "group_width", "kernel_size", "head_width")


@dataclasses.dataclass(frozen=True)
class Networks:
    """Some networks, column by column.

    Attributes:
        depths: blocks per stage, 0 where a network has no such stage, shape (networks, stages).
        widths: output channels, likewise.
        params, macs: of their costs.
        coded: gives any other field, or a skip style's option: its values, and the index of each network's.
    """

    depths: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]
    params: npt.NDArray[np.int64]
    macs: npt.NDArray[np.int64]
    coded: Callable[[str], tuple[Sequence[Any], npt.NDArray[np.int64]]]

    @classmethod
    def of(
        cls,
        networks: Columns | Sequence[Architecture],
        input_shape: Shape = (3, 32, 32),
        num_classes: int | None = None,
    ) -> Networks:
        """Return networks as columns; the input's shape and the classes are for the costs of architectures."""
        if isinstance(networks, Columns):
            price = networks.cost
            params, macs = np.asarray(price.params), np.asarray(price.macs)
            return cls(networks.rows.depths, networks.rows.widths, params, macs, networks.coded)
        prices = np.array([cost(one, input_shape, num_classes)[:2] for one in networks], np.int64).reshape(-1, 2)
        most = max((len(one.depths) for one in networks), default=0)

        def staged(key: str) -> npt.NDArray[np.int64]:
            rows = [(*getattr(one, key), *[0] * (most - len(one.depths))) for one in networks]
            return np.array(rows, np.int64).reshape(len(networks), most)

        def coded(key: str) -> tuple[Sequence[Any], npt.NDArray[np.int64]]:
            is_field = key in Architecture.__dataclass_fields__
            values = [getattr(one, key) if is_field else dict(one.skip_options).get(key) for one in networks]
            return values, np.arange(len(networks))

        return cls(staged("depths"), staged("widths"), prices[:, 0], prices[:, 1], coded)

    def __len__(self) -> int:
        return len(self.params)

    def values(self, key: str) -> set[Any]:
        """Return the values of a field that there are."""
        values, which = self.coded(key)
        return {values[at] for at in np.unique(which).tolist()}

    def mapped(self, key: str, function: Callable[[Any], float]) -> Floats:
        """Return a number for each network's value of a field."""
        values, which = self.coded(key)
        return np.array([function(value) for value in values], float)[which]


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What differs between trained networks, and how it is scaled.

    Attributes:
        names: of the columns.
        choices: the values that each named field was trained with.
        options: names of the skip styles' options.
        stages: numbers of stages that were trained.
        per_stage: whether blocks and widths have a column for each stage.
        centre, scale: of each column.
        kept: indices of the columns that differ, before scaling.
    """

    choices: dict[str, tuple[Any, ...]]
    options: tuple[str, ...]
    stages: tuple[int, ...]
    names: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()
    centre: Floats = dataclasses.field(default_factory=lambda: np.zeros(0))
    scale: Floats = dataclasses.field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(cls, networks: Networks) -> Encoding:
        """Return the encoding of what differs between `networks`."""
        choices = {key: tuple(sorted(networks.values(key), key=str)) for key in _NAMED}
        options = tuple(sorted({option for skip in choices["skip"] for option in skip_options(skip)}))
        stages = tuple(sorted(set(np.count_nonzero(networks.depths, 1).tolist())))
        draft = cls(choices, options, stages)
        names, columns = draft._raw(networks)
        kept: list[int] = []
        for at in range(len(names)):
            column = columns[:, at]
            if np.ptp(column) > 1e-9 and not any(_is_same(column, columns[:, other]) for other in kept):
                kept.append(at)
        found = columns[:, kept]
        return dataclasses.replace(
            draft,
            names=tuple(names[at] for at in kept),
            kept=tuple(kept),
            centre=found.mean(0),
            scale=np.where(found.std(0) > 0, found.std(0), 1.0),
        )

    def encode(self, networks: Networks) -> Floats:
        """Return the columns of networks, shape (networks, columns)."""
        _, columns = self._raw(networks)
        encoded: Floats = (columns[:, list(self.kept)] - self.centre) / self.scale
        return encoded

    def is_foreign(self, networks: Networks) -> npt.NDArray[np.bool_]:
        """Return which networks have a choice, or a number of stages, that none of the trained ones had."""
        foreign = ~np.isin(np.count_nonzero(networks.depths, 1), self.stages)
        for key, values in self.choices.items():
            foreign |= networks.mapped(key, functools.partial(_is_none_of, values)) > 0
        return foreign

    def _raw(self, networks: Networks) -> tuple[list[str], Floats]:
        """Return every column there might be, with its name: those that stand for others come first."""
        named: dict[str, Any] = {
            "log macs": np.log(np.maximum(networks.macs, 1)),
            "log params": np.log(np.maximum(networks.params, 1)),
        }
        count = np.count_nonzero(networks.depths, 1)
        named["log blocks"] = np.log(np.maximum(networks.depths.sum(1), 1))
        named["log width"] = np.log(np.maximum(networks.widths[:, 0], 1))
        named["stages"] = count
        if len(self.stages) == 1:  # else the columns of stages have no common meaning
            for stage in range(self.stages[0]):
                for key, values in (("blocks", networks.depths), ("width", networks.widths)):
                    at = values[:, stage] if stage < values.shape[1] else np.zeros(len(networks))
                    named[f"log {key} of stage {stage + 1}"] = np.log(np.maximum(at, 1))
        for key, choices in self.choices.items():
            for choice in choices[1:]:  # the first is what the others are held against
                named[f"{key} {choice}"] = networks.mapped(key, functools.partial(_is, choice))
        for key in _NUMBERS:
            named[f"{key} none"] = networks.mapped(key, functools.partial(_is, None))
            named[key] = networks.mapped(key, functools.partial(_number, is_log=key in _IN_LOGS))
        for option in self.options:
            named[option] = networks.mapped(option, _number)
        return list(named), np.column_stack([np.asarray(column, float) for column in named.values()])


def _is_none_of(choices: tuple[Any, ...], value: Any) -> float:
    return float(value not in choices)


def _is(choice: Any, value: Any) -> float:
    return float(value == choice)


def _number(value: Any, is_log: bool = False) -> float:
    """Return a number, or the mean of one per stage; none is 0."""
    if value is None:
        return 0.0
    numbers = np.atleast_1d(np.asarray(value, float))
    return float(np.log(numbers).mean() if is_log else numbers.mean())


def _is_same(one: Floats, other: Floats) -> bool:
    """Return whether two columns that differ tell the same: up to scale, one is the other."""
    return abs(float(np.corrcoef(one, other)[0, 1])) > 1 - 1e-9
