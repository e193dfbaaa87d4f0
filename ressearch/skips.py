"""How x and F(x) meet: one class a skip style, and the shortcuts that match x to a new shape.

A skip style says which layer merges the two paths. To add a style, write one class here under ``@skip``; to add a
shortcut, one function under ``@shortcut``.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass

from torch import Tensor, nn

from ressearch.errors import ArchitectureError, nearest
from ressearch.layers import Conv, Cost, Layer, Norm, Shape, SubsampleAndPad


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """One residual unit as its skip sees it: widths, stride, norm and its place ``index`` of ``count``, from 0."""

    in_width: int
    width: int
    stride: int
    norm: str
    norm_order: str
    index: int
    count: int

    @property
    def changes_shape(self) -> bool:
        """Whether x must be projected, padded or subsampled to be added to F(x)."""
        return self.stride != 1 or self.in_width != self.width


class Merge(ABC):
    """The layer where the paths meet; like a `Layer`, but of three inputs: x, its shortcut s and F(x)."""

    @abstractmethod
    def cost(self, in_shape: Shape, shape: Shape) -> Cost:
        """Return what the meeting costs for x of `in_shape` and F(x) of `shape`."""

    @abstractmethod
    def module(self) -> nn.Module:
        """Build a module called as ``merge(x, shortcut, residual)``; its output has the residual's shape."""


class _Add(nn.Module):
    def forward(self, x: Tensor, shortcut: Tensor, residual: Tensor) -> Tensor:
        return shortcut + residual


@dataclass(frozen=True, slots=True)
class Add(Merge):
    """Element-wise addition."""

    def cost(self, in_shape: Shape, shape: Shape) -> Cost:
        """Free by the counting convention."""
        return Cost()

    def module(self) -> nn.Module:
        """Build the addition."""
        return _Add()


class Skip(ABC):
    """A skip style. Styles without a meeting point (`none`) return no merge and get no shortcut."""

    @abstractmethod
    def merge(self, unit: UnitSpec) -> Merge | None:
        """Return the layer that merges the shortcut and the branch of `unit`, or None for a plain network."""


SKIPS: dict[str, type[Skip]] = {}
"""Every skip style by name."""


def skip(name: str) -> Callable[[type[Skip]], type[Skip]]:
    """Register a class as skip style `name`."""

    def register(style: type[Skip]) -> type[Skip]:
        SKIPS[name] = style
        return style

    return register


@functools.cache
def get_skip(name: str, options: tuple[tuple[str, float], ...] = ()) -> Skip:
    """Return the skip style with its options set.

    Raises ArchitectureError with the nearest name if the style or an option is unknown.
    """
    if name not in SKIPS:
        raise ArchitectureError(f"skip: '{name}' is unknown; {nearest(name, SKIPS)}")
    known = skip_options(name)
    for option, _ in options:
        if option not in known:
            hint = nearest(option, known) if known else "it has none"
            raise ArchitectureError(f"skip_options: '{option}' is no option of skip '{name}'; {hint}")
    return SKIPS[name](**dict(options))


def skip_options(name: str) -> dict[str, float]:
    """Return the options of a skip style with their published defaults."""
    style = SKIPS[name]
    return {field.name: field.default for field in fields(style)} if is_dataclass(style) else {}


@skip("none")
class Plain(Skip):
    """y = F(x): the plain network, the control of every depth study (He et al. 2015, section 4.1)."""

    def merge(self, unit: UnitSpec) -> Merge | None:
        """No meeting point."""
        return None


@skip("identity")
class Identity(Skip):
    """y = x + F(x) (He et al. 2015, eq. 1)."""

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add."""
        return Add()


SHORTCUTS: dict[str, Callable[[UnitSpec], tuple[Layer, ...]]] = {}
"""Every shortcut by name."""


def shortcut(
    name: str,
) -> Callable[[Callable[[UnitSpec], tuple[Layer, ...]]], Callable[[UnitSpec], tuple[Layer, ...]]]:
    """Register a function as shortcut `name`; it returns the layers on the shortcut, none for the identity."""

    def register(layers: Callable[[UnitSpec], tuple[Layer, ...]]) -> Callable[[UnitSpec], tuple[Layer, ...]]:
        SHORTCUTS[name] = layers
        return layers

    return register


def get_shortcut(name: str) -> Callable[[UnitSpec], tuple[Layer, ...]]:
    """Return the shortcut. Raises ArchitectureError with the nearest name if there is none."""
    if name not in SHORTCUTS:
        raise ArchitectureError(f"shortcut: '{name}' is unknown; {nearest(name, SHORTCUTS)}")
    return SHORTCUTS[name]


@shortcut("pad")
def pad(unit: UnitSpec) -> tuple[Layer, ...]:
    """Option A (He et al. 2015): subsample, new channels zero; no parameters."""
    if not unit.changes_shape:
        return ()
    if unit.width < unit.in_width:
        raise ArchitectureError(
            f"shortcut: 'pad' cannot narrow {unit.in_width} channels to {unit.width}; use 'projection'"
        )
    return (SubsampleAndPad(unit.in_width, unit.width, unit.stride),)


@shortcut("projection")
def projection(unit: UnitSpec) -> tuple[Layer, ...]:
    """Option B (He et al. 2015): a strided 1x1 convolution where the shape changes, the identity elsewhere."""
    return project(unit) if unit.changes_shape else ()


def project(unit: UnitSpec, stride: int | None = None) -> tuple[Layer, ...]:
    """Return a 1x1 convolution to the unit's width.

    The network's norm follows it, except in pre-activation networks (their shortcut carries no norm, He et al. 2016)
    and where there is none (then the convolution has a bias).
    """
    conv = Conv(unit.in_width, unit.width, stride=unit.stride if stride is None else stride, bias=unit.norm == "none")
    has_norm = unit.norm != "none" and unit.norm_order == "post"
    return (conv, Norm(unit.norm, unit.width)) if has_norm else (conv,)
