"""How x and F(x) meet: one class per skip style, with its formula, paper, options and initialisation.

A style says which layer merges the two paths (`merge`), may change the branch or the shortcut, and sets its starting
values. Options are dataclass fields and part of the search space: ``skip: [identity, {scaled: {alpha: [0.1, 0.5]}}]``.
In the formulas s(x) is the shortcut: x itself, or what `ressearch.networks.shortcuts` makes of it where the shape
changes; L is the number of residual units (one per block; two in a transformer block). To add a style, write one class
under ``@skip``.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from ressearch.errors import ArchitectureError, RegistryError, nearest
from ressearch.limits import short
from ressearch.networks.attention import SelfAttention
from ressearch.networks.compatibility import Rule, never, only
from ressearch.networks.layers import (
    Activation,
    Affine,
    AveragePool,
    Conv,
    Layer,
    Layers,
    Linear,
    norm_layers,
    pointwise,
)
from ressearch.networks.merges import (
    Concatenation,
    DropoutShortcut,
    Gated,
    LearnedScale,
    Merge,
    Place,
    Survival,
    WeightedSum,
)
from ressearch.networks.shortcuts import UnitSpec, project
from ressearch.registry import Registry, cached

Options = tuple[tuple[str, float], ...]


class Skip(ABC):
    """A skip style. `initialise` runs after He initialisation (`ressearch.networks.module.initialise`)."""

    formula: ClassVar[str]
    """The output before what follows the addition, for tables and pictures."""
    rules: ClassVar[tuple[Rule, ...]] = ()
    """Which values of other Architecture fields have a meaning with the style."""
    has_transitions: ClassVar[bool] = False
    """Whether a `transition`, of one weighted layer, stands before each stage but the first."""
    has_shortcut: ClassVar[bool] = True
    """Whether s(x) is used; if not, the field `shortcut` changes nothing."""
    replaces_biases: ClassVar[bool] = False
    """Whether the style puts its own biases in place of the convolutions'."""

    @abstractmethod
    def merge(self, unit: UnitSpec) -> Merge | None:
        """Return the layer that merges the shortcut and the branch of `unit`, or None for a plain network."""

    def branch(self, layers: Layers, unit: UnitSpec) -> Layers:
        """Return the branch as the style wants it."""
        return layers

    def shortcut(self, layers: Layers, unit: UnitSpec) -> Layers:
        """Return the shortcut as the style wants it."""
        return layers

    def block_widths(self, in_width: int, width: int, blocks: int) -> Iterator[tuple[int, int, int]]:
        """Yield (in_width, width of F, count) of a stage's blocks, equal neighbours counted together."""
        yield in_width, width, 1
        if blocks > 1:
            yield width, width, blocks - 1

    def widths(self, stem_width: int, depths: Sequence[int]) -> tuple[int, ...] | None:
        """Return the stages' output channels where they follow from the style's options; None where they do not."""
        return None

    def stem_width(self, width: int | None) -> int | None:
        """Return the stem's channels where the style's paper says them; None leaves them to the block.

        Args:
            width: output channels of the first stage, if they are given.
        """
        return None

    def entry_width(self, in_width: int, stage: int) -> int | None:
        """Return the channels that enter a stage after the style's own `transition`; None if it has none."""
        return None

    def transition(self, unit: UnitSpec, activation: str) -> Layers:
        """Return the layers that take `unit.in_width` to `unit.width` channels before a stage's blocks."""
        return ()

    def initialise(self, units: Sequence[Any], classifier: nn.Linear) -> None:
        """Set the style's starting values in the network's `ResidualUnit` modules and its classifier."""
        return


SKIPS: Registry[type[Skip]] = Registry("skips", ArchitectureError, "skip: {name} is unknown")
"""Every skip style by name."""


def skip(name: str, *, replace: bool = False) -> Callable[[type[Skip]], type[Skip]]:
    """Register a class as skip style `name`; one with options becomes a frozen dataclass."""

    SKIPS.require_name(name)

    def register(style: type[Skip]) -> type[Skip]:
        if not (isinstance(style, type) and issubclass(style, Skip)):
            raise RegistryError(f"skips: '{name}': expected a class derived from Skip, got {short(style)}")
        if missing := sorted(style.__abstractmethods__):
            raise RegistryError(f"skips: '{name}': {style.__name__} lacks the method {', '.join(missing)}")
        if not isinstance(getattr(style, "formula", None), str):
            raise RegistryError(f"skips: '{name}': {style.__name__} lacks formula, such as formula = 's(x) + F(x)'")
        own = [one for one, hint in inspect.get_annotations(style).items() if "ClassVar" not in str(hint)]
        if open_ := [one for one in own if not isinstance(getattr(style, one, None), int | float)]:
            raise RegistryError(f"skips: '{name}': the option {open_[0]} needs a number as its default")
        if inspect.get_annotations(style):
            style = dataclass(frozen=True)(style)
        SKIPS.add(name, style, replace=replace)
        return style

    return register


@cached
@functools.lru_cache(maxsize=4096)
def get_skip(name: str, options: Options = ()) -> Skip:
    """Return the skip style with its options set.

    Raises ArchitectureError with the nearest name if the style or an option is unknown, or an option's value is out
    of range.
    """
    style = SKIPS.find(name)
    known = skip_options(name)
    for option, value in options:
        if option not in known:
            hint = nearest(option, known) if known else "it has none"
            raise ArchitectureError(f"skip_options: '{option}' is no option of skip '{name}'; {hint}")
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise ArchitectureError(f"skip_options.{option}: {value!r} is not a number")
    return style(**dict(options))


@cached
@functools.lru_cache(maxsize=4096)
def resolve_options(name: str, options: Options) -> Options:
    """Return a style's options with the published defaults where nothing is given. Raises as `get_skip`."""
    get_skip(name, options)
    return tuple((skip_options(name) | {option: float(value) for option, value in options}).items())


def skip_options(name: str) -> dict[str, float]:
    """Return the options of a skip style with their published defaults."""
    style = SKIPS[name]
    return {field.name: field.default for field in fields(style)} if is_dataclass(style) else {}


def _require(is_met: bool, option: str, value: float, expected: str) -> None:
    if not is_met:
        raise ArchitectureError(f"skip_options.{option}: {value:g} is not {expected}")


def weighted_modules(branch: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return the weighted layers of a branch's main path, in order (not those of squeeze-excitations)."""
    found: list[nn.Conv2d | nn.Linear] = []
    for module in branch.children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            found.append(module)
        elif isinstance(module, SelfAttention):
            found += [module.project_in, module.project_out]
    return found


@skip("none")
class Plain(Skip):
    """y = F(x): the plain network, the control of every depth study (He et al. 2015, section 4.1)."""

    formula = "F(x)"
    has_shortcut = False

    def merge(self, unit: UnitSpec) -> Merge | None:
        """No meeting point."""
        return None


@skip("identity")
class Identity(Skip):
    """y = s(x) + F(x) (He et al. 2015, eq. 1)."""

    formula = "s(x) + F(x)"

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add."""
        return WeightedSum()


@skip("scaled")
class Scaled(Skip):
    """y = beta s(x) + alpha F(x), constants.

    Residual scaling with beta = 1 and alpha of 0.1 to 0.3 is Inception-ResNet's (Szegedy et al. 2017, section 3.3);
    alpha = beta = 0.5 is "constant scaling" of He et al. 2016, Table 1.
    """

    formula = "β s(x) + α F(x)"

    alpha: float = 0.2
    beta: float = 1.0

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add, weighted."""
        return WeightedSum(lambda place: (self.beta, self.alpha))


@skip("depth_scaled")
class DepthScaled(Skip):
    """y = s(x) + F(x) / sqrt(L): the sum of L branches stays of one size (Hayou et al. 2021; Marion et al. 2022)."""

    formula = "s(x) + F(x) / √L"

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add, scaled by the depth."""
        return WeightedSum(lambda place: (1.0, place.count**-0.5))


@skip("rezero")
class ReZero(Skip):
    """y = s(x) + alpha F(x), alpha one learned number a unit, starting at `initial` = 0 (Bachlechner et al. 2020).

    Needs no normalisation: ``norm: none`` is the published form.
    """

    formula = "s(x) + α F(x)"

    initial: float = 0.0

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add, scaled by a learned number."""
        return LearnedScale(1, self.initial)


@skip("skipinit")
class SkipInit(Skip):
    """y = s(x) + alpha F(x), alpha one learned number at the end of each branch (De and Smith 2020).

    `initial` = 0 as published; the paper finds 1/sqrt(L) to work as well. ``norm: none``, with biases and He
    initialisation, is the published form; with a norm it still downscales the branch.
    """

    formula = "s(x) + α F(x)"

    initial: float = 0.0

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add, scaled by a learned number."""
        return LearnedScale(1, self.initial)


@skip("layerscale")
class LayerScale(Skip):
    """y = s(x) + diag(lambda) F(x), lambda one learned number per channel (CaiT, Touvron et al. 2021).

    `initial` = 1e-6 as in ConvNeXt and CaiT of more than 24 layers; CaiT takes 0.1 up to 18 layers, 1e-5 up to 24.
    """

    formula = "s(x) + diag(λ) F(x)"

    initial: float = 1e-6

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add, scaled channel by channel."""
        return LearnedScale(unit.width, self.initial)


@skip("fixup")
class Fixup(Skip):
    """y = s(x) + F(x) without normalisation (Zhang et al. 2019, section 3).

    The last layer of each branch and the classifier start at 0; the other m - 1 weighted layers of a branch are He
    initialised, then scaled by L^(-1/(2m-2)); a learned bias (from 0) stands before each weighted layer and activation,
    a learned scale (from 1) at the end of each branch. Convolutions carry no biases of their own.
    """

    formula = "s(x) + F(x)"
    rules = (only("norm", "none", because="Fixup stands in for normalisation (Zhang et al. 2019)"),)
    replaces_biases = True

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add."""
        return WeightedSum()

    def branch(self, layers: Layers, unit: UnitSpec) -> Layers:
        """Put the biases and the scale into the branch."""
        dressed: list[Layer] = []
        for layer in layers:
            if layer.weighted or isinstance(layer, Activation):
                dressed.append(Affine("bias", 0.0))
            dressed.append(layer)
        dressed.append(Affine("scale", 1.0))
        return (*dressed, Affine("bias", 0.0)) if unit.is_activated else tuple(dressed)

    def initialise(self, units: Sequence[Any], classifier: nn.Linear) -> None:
        """Scale the branches, zero their last layers and the classifier."""
        with torch.no_grad():
            for unit in units:
                *others, last = weighted_modules(unit.branch)
                for module in others:
                    module.weight *= len(units) ** (-0.5 / len(others))
                last.weight.zero_()
            classifier.weight.zero_()
            if classifier.bias is not None:
                classifier.bias.zero_()


@skip("stochastic_depth")
class StochasticDepth(Skip):
    """Training: y = s(x) + b F(x), b = 1 with probability p_l, else 0; evaluation: y = s(x) + p_l F(x).

    Linear decay: p_l = 1 - (l / L)(1 - p_L) for unit l = 1 … L, p_L = `survival` (Huang et al. 2016).
    b is drawn for each mini-batch, as published.
    """

    formula = "s(x) + b F(x)"

    survival: float = 0.5

    def __post_init__(self) -> None:
        _require(0 < self.survival <= 1, "survival", self.survival, "a probability above 0")

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add the branch, or not."""

        def survival(place: Place) -> float:
            return 1 - (place.index + 1) / place.count * (1 - self.survival)

        return Survival(survival)


@skip("highway")
class Highway(Skip):
    """y = (1 - T(x)) s(x) + T(x) F(x), T(x) = sigmoid(W x + b), a convolution as large as the block's.

    Srivastava et al. 2015, eq. 3; `bias` is where b starts, negative so that units carry x at first (section 2.2).
    """

    formula = "(1 − T) s(x) + T F(x)"

    bias: float = -2.0

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Gate both paths."""
        if unit.modality == "image":
            gate: Layer = Conv(unit.in_width, unit.width, unit.kernel_size, unit.stride, bias=True)
        else:
            gate = Linear(unit.in_width, unit.width)
        return Gated(gate, self.bias, gates_residual=True)


@skip("exclusive_gating")
class ExclusiveGating(Skip):
    """y = (1 - g(x)) s(x) + g(x) F(x), g(x) = sigmoid(W x + b), a 1x1 convolution (He et al. 2016, Fig. 2c).

    `bias` is where b starts; He et al. 2016 find -6 the best (Table 1: error 8.70 % at depth 110).
    """

    formula = "(1 − g) s(x) + g F(x)"

    bias: float = -6.0

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Gate both paths."""
        gate = pointwise(unit.modality, unit.in_width, unit.width, stride=unit.stride, bias=True)
        return Gated(gate, self.bias, gates_residual=True)


@skip("shortcut_gating")
class ShortcutGating(Skip):
    """y = (1 - g(x)) s(x) + F(x), g(x) = sigmoid(W x + b), a 1x1 convolution (He et al. 2016, Fig. 2d).

    `bias` is where b starts: at 0 the shortcut is halved (Table 1: 12.86 %), at -6 it is nearly open (6.91 %).
    """

    formula = "(1 − g) s(x) + F(x)"

    bias: float = -6.0

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Gate the shortcut."""
        gate = pointwise(unit.modality, unit.in_width, unit.width, stride=unit.stride, bias=True)
        return Gated(gate, self.bias, gates_residual=False)


@skip("conv_shortcut")
class ConvShortcut(Skip):
    """y = W x + F(x), a 1x1 convolution on every shortcut (He et al. 2016, Fig. 2e; option C of He et al. 2015)."""

    formula = "W x + F(x)"
    rules = (
        never("shortcut", "pad", "none", because="it puts a 1x1 convolution on every shortcut"),
        never("shortcut", "projection_all", because="that is the same network as with 'projection'"),
    )

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add."""
        return WeightedSum()

    def shortcut(self, layers: Layers, unit: UnitSpec) -> Layers:
        """Project where the shape stays, too."""
        return layers or project(unit)


@skip("dropout_shortcut")
class DropoutOnShortcut(Skip):
    """y = dropout(s(x)) + F(x), elements dropped at `rate` in training (He et al. 2016, Fig. 2f)."""

    formula = "dropout(s(x)) + F(x)"

    rate: float = 0.5

    def __post_init__(self) -> None:
        _require(0 <= self.rate < 1, "rate", self.rate, "a fraction below 1")

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Drop out, then add."""
        return DropoutShortcut(self.rate)


@skip("dense")
class Dense(Skip):
    """y = [x, F(x)]: concatenation along the channels (Huang et al. 2017, eq. 2).

    Each block adds `growth_rate` channels; between stages a transition compresses to the fraction `compression`
    (1x1 convolution) and halves the side (average pool, where the stage's stride says so). The stages' `widths` follow
    from the growth rate. At 0 it is the other way: `widths` say where each stage ends and the blocks grow evenly.
    """

    formula = "[x, F(x)]"

    growth_rate: float = 0.0
    compression: float = 0.5

    has_shortcut = False
    has_transitions = True

    def __post_init__(self) -> None:
        is_whole = self.growth_rate >= 0 and self.growth_rate == int(self.growth_rate)
        _require(is_whole, "growth_rate", self.growth_rate, "a whole number of at least 0")
        _require(0 < self.compression <= 1, "compression", self.compression, "a fraction above 0, at most 1")

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Concatenate."""
        return Concatenation()

    def widths(self, stem_width: int, depths: Sequence[int]) -> tuple[int, ...] | None:
        """Return the stages' output channels that follow from the growth rate; None if it is 0."""
        if not self.growth_rate:
            return None
        widths, width = [], stem_width
        for stage, blocks in enumerate(depths):
            width = self.entry_width(width, stage) + blocks * int(self.growth_rate)
            widths.append(width)
        return tuple(widths)

    def stem_width(self, width: int | None) -> int | None:
        """Return twice the growth rate (section 4.2), else half of where the first stage ends."""
        if self.growth_rate:
            return 2 * int(self.growth_rate)
        return max(1, (16 if width is None else width) // 2)

    def entry_width(self, in_width: int, stage: int) -> int:
        """Return the channels that enter a stage: compressed, but for the first."""
        return in_width if stage == 0 else max(1, int(in_width * self.compression))

    def block_widths(self, in_width: int, width: int, blocks: int) -> Iterator[tuple[int, int, int]]:
        """Yield blocks whose input grows by what each adds."""
        growth = width - in_width
        if growth < blocks:
            raise ArchitectureError(
                f"widths: a dense stage of {blocks} blocks that {in_width} channels enter cannot end with {width}: "
                f"each block adds at least one; expected at least {in_width + blocks}"
            )
        ends = [in_width + growth * index // blocks for index in range(blocks + 1)]
        for start, end in itertools.pairwise(ends):
            yield start, end - start, 1

    def transition(self, unit: UnitSpec, activation: str) -> Layers:
        """Compress with a 1x1 convolution in the network's order, then average (Huang et al. 2017, section 3)."""
        conv = pointwise(unit.modality, unit.in_width, unit.width, bias=unit.bias)
        pool = (AveragePool(unit.stride),) if unit.stride > 1 else ()
        if unit.norm_order == "pre":
            return (*norm_layers(unit.norm, unit.in_width, unit.modality), Activation(activation), conv, *pool)
        return (conv, *norm_layers(unit.norm, unit.width, unit.modality), Activation(activation), *pool)


@skip("weighted")
class Weighted(Skip):
    """y = alpha s(x) + F(x), the branch's weights scaled by beta at the start (DeepNet, Wang et al. 2022).

    DeepNet's own with ``norm_order: post`` and ``norm: layer`` alone: there a norm follows each sum and takes alpha out
    again. With the norm before each branch (``pre``, the default of `transformer`) x grows by alpha from unit to unit.

    Left at 0, alpha = L^(1/4) and beta = (4 L)^(-1/4): the paper's (2N)^(1/4) and (8N)^(-1/4) for an encoder of N
    layers of two residual units. Queries' and keys' projections are not scaled (Fig. 2).
    """

    formula = "α s(x) + F(x)"

    alpha: float = 0.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        _require(self.alpha >= 0, "alpha", self.alpha, "a number of at least 0")
        _require(self.beta >= 0, "beta", self.beta, "a number of at least 0")

    def merge(self, unit: UnitSpec) -> Merge | None:
        """Add, the shortcut weighted."""
        return WeightedSum(lambda place: (self.alpha or place.count**0.25, 1.0))

    def initialise(self, units: Sequence[Any], classifier: nn.Linear) -> None:
        """Scale the branches' weights."""
        beta = self.beta or (4 * len(units)) ** -0.25
        with torch.no_grad():
            for unit in units:
                for module in weighted_modules(unit.branch):
                    module.weight *= beta
                for module in unit.branch.children():
                    if isinstance(module, SelfAttention):
                        module.project_in.weight[: 2 * module.project_out.in_features] /= beta
