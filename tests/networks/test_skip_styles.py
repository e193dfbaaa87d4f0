"""Skip styles alone: what they do to branches, shortcuts, widths and starting values, and how one is registered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from ressearch import Architecture, build
from ressearch.errors import ArchitectureError, RegistryError
from ressearch.networks.layers import Activation, Affine, Conv, Layers, Linear, Norm
from ressearch.networks.merges import Merge, Place, Survival, WeightedSum
from ressearch.networks.shortcuts import UnitSpec
from ressearch.networks.skips import (
    SKIPS,
    Skip,
    get_skip,
    resolve_options,
    skip,
    skip_options,
    weighted_modules,
)
from ressearch.registry import unchanged

UNIT = UnitSpec(4, 8, 2, "image", 3, "batch", "post", False, True)

OPTIONS = {
    "none": {},
    "identity": {},
    "scaled": {"alpha": 0.2, "beta": 1.0},
    "depth_scaled": {},
    "rezero": {"initial": 0.0},
    "skipinit": {"initial": 0.0},
    "layerscale": {"initial": 1e-6},
    "fixup": {},
    "stochastic_depth": {"survival": 0.5},
    "highway": {"bias": -2.0},
    "exclusive_gating": {"bias": -6.0},
    "shortcut_gating": {"bias": -6.0},
    "conv_shortcut": {},
    "dropout_shortcut": {"rate": 0.5},
    "dense": {"growth_rate": 0.0, "compression": 0.5},
    "weighted": {"alpha": 0.0, "beta": 0.0},
}


def test_every_style_has_the_published_options() -> None:
    assert {name: skip_options(name) for name in SKIPS} == OPTIONS
    assert resolve_options("scaled", (("beta", 2),)) == (("alpha", 0.2), ("beta", 2.0))
    assert [type(value) for _, value in resolve_options("scaled", (("beta", 2),))] == [float, float]
    assert resolve_options("identity", ()) == ()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("scaled", (("alpa", 1.0),), "skip_options: 'alpa' is no option of skip 'scaled'; did you mean 'alpha'?"),
        ("scaled", (("x", 1.0),), "skip_options: 'x' is no option of skip 'scaled'; known: alpha, beta"),
        ("identity", (("x", 1.0),), "skip_options: 'x' is no option of skip 'identity'; it has none"),
        ("scaled", (("alpha", True),), "skip_options.alpha: True is not a number"),
        ("scaled", (("alpha", "x"),), "skip_options.alpha: 'x' is not a number"),
        ("scaled", (("alpha", float("nan")),), "skip_options.alpha: nan is not a number"),
        ("identiti", (), "skip: 'identiti' is unknown; did you mean 'identity'?"),
        ("dropout_shortcut", (("rate", 1.0),), "skip_options.rate: 1 is not a fraction below 1"),
    ],
)
def test_options_without_a_meaning_are_refused(name: str, options: Any, said: str) -> None:
    for reader in (get_skip, resolve_options):
        with pytest.raises(ArchitectureError) as refused:
            reader(name, options)
        assert str(refused.value) == said


@pytest.mark.parametrize(
    ("name", "options", "place", "scales"),
    [
        ("identity", (), Place(0, 16), (1.0, 1.0)),
        ("fixup", (), Place(0, 16), (1.0, 1.0)),
        ("conv_shortcut", (), Place(0, 16), (1.0, 1.0)),
        ("scaled", (("alpha", 0.3), ("beta", 0.7)), Place(0, 16), (0.7, 0.3)),
        ("depth_scaled", (), Place(3, 16), (1.0, 0.25)),
        ("weighted", (), Place(3, 16), (2.0, 1.0)),
        ("weighted", (("alpha", 3.0),), Place(3, 16), (3.0, 1.0)),
    ],
)
def test_constant_scales_follow_from_options_and_depth(name: str, options: Any, place: Place, scales: Any) -> None:
    merge = get_skip(name, options).merge(UNIT)
    assert isinstance(merge, WeightedSum)
    assert merge.scales(place) == scales


def test_survival_decays_linearly_from_the_first_unit_to_the_option() -> None:
    merge = get_skip("stochastic_depth", (("survival", 0.2),)).merge(UNIT)
    assert isinstance(merge, Survival)
    assert [merge.survival(Place(index, 4)) for index in range(4)] == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_a_style_changes_nothing_that_it_does_not_say() -> None:
    layers = (Conv(4, 8, 3, 2),)
    style = get_skip("identity")
    assert (style.branch(layers, UNIT), style.shortcut(layers, UNIT)) == (layers, layers)
    assert list(style.block_widths(4, 8, 3)) == [(4, 8, 1), (8, 8, 2)]
    assert list(style.block_widths(4, 8, 2)) == [(4, 8, 1), (8, 8, 1)]
    assert list(style.block_widths(4, 8, 1)) == [(4, 8, 1)]
    assert (style.widths(4, (1, 2)), style.stem_width(4), style.entry_width(4, 1)) == (None, None, None)
    assert style.transition(UNIT, "relu") == ()
    assert (style.has_shortcut, style.has_transitions, style.replaces_biases, style.rules) == (True, False, False, ())


def test_fixup_puts_biases_before_weights_and_activations_and_a_scale_last() -> None:
    bias, scale, relu = Affine("bias", 0.0), Affine("scale", 1.0), Activation("relu")
    conv, norm = Conv(4, 4, 3), Norm("batch", 4)
    dressed = (bias, conv, norm, bias, relu, bias, conv, scale)
    style = get_skip("fixup")
    assert style.branch((conv, norm, relu, conv), UNIT) == (*dressed, bias)
    plain = UnitSpec(4, 8, 2, "image", 3, "none", "pre", False, False)
    assert style.branch((conv, norm, relu, conv), plain) == dressed


def test_a_convolution_on_every_shortcut_is_added_only_where_there_is_none() -> None:
    style = get_skip("conv_shortcut")
    assert style.shortcut((), UNIT) == (Conv(4, 8, 1, 2), Norm("batch", 8))
    assert style.shortcut((Conv(4, 8),), UNIT) == (Conv(4, 8),)


def test_dense_widths_follow_from_growth_and_compression() -> None:
    style = get_skip("dense", (("growth_rate", 12.0), ("compression", 0.5)))
    assert style.widths(24, (16, 16, 16)) == (216, 300, 342)  # DenseNet-BC 100
    assert (style.stem_width(None), style.stem_width(99)) == (24, 24)
    assert [style.entry_width(width, stage) for width, stage in ((9, 0), (9, 1), (1, 2))] == [9, 4, 1]
    even = get_skip("dense")
    assert even.widths(24, (16,)) is None
    assert [even.stem_width(width) for width in (None, 20, 1)] == [8, 10, 1]
    assert list(even.block_widths(10, 21, 4)) == [(10, 2, 1), (12, 3, 1), (15, 3, 1), (18, 3, 1)]
    assert list(even.block_widths(10, 11, 1)) == [(10, 1, 1)]
    with pytest.raises(ArchitectureError) as refused:
        list(even.block_widths(10, 13, 4))
    assert str(refused.value) == (
        "widths: a dense stage of 4 blocks that 10 channels enter cannot end with 13: each block adds at least one; "
        "expected at least 14"
    )


def test_weighted_layers_are_those_of_the_main_path_in_order() -> None:
    network = build(Architecture("bottleneck", (1,), (8,), se_ratio=0.5))
    found = weighted_modules(network.units[0].branch)
    assert [tuple(module.weight.shape) for module in found] == [(2, 2, 1, 1), (2, 2, 3, 3), (8, 2, 1, 1)]
    attention, mlp = build(Architecture("transformer", (1,), (8,))).units
    assert [tuple(module.weight.shape) for module in weighted_modules(attention.branch)] == [(24, 8), (8, 8)]
    assert [tuple(module.weight.shape) for module in weighted_modules(mlp.branch)] == [(32, 8), (8, 32)]


class Unit:
    """A unit whose branch's weights are all 1."""

    def __init__(self, *layers: Conv | Linear) -> None:
        self.branch = nn.Sequential(*(layer.module() for layer in layers))
        for parameter in self.branch.parameters():
            nn.init.ones_(parameter)


def values(units: Sequence[Unit]) -> list[list[float]]:
    """The first weight of each layer of each unit."""
    return [[float(module.weight.detach().flatten()[0]) for module in unit.branch] for unit in units]  # type: ignore[arg-type, union-attr]


def test_fixup_scales_by_depth_and_by_the_layers_of_a_branch() -> None:
    three = [Unit(Conv(1, 1), Conv(1, 1), Conv(1, 1)) for _ in range(16)]
    classifier = nn.Linear(2, 2)
    get_skip("fixup").initialise(three, classifier)
    assert values(three) == [[0.5, 0.5, 0.0]] * 16  # 16^(-1/4)
    assert not classifier.weight.any()
    assert not classifier.bias.any()
    two = [Unit(Conv(1, 1), Conv(1, 1)) for _ in range(4)]
    get_skip("fixup").initialise(two, nn.Linear(2, 2, bias=False))
    assert values(two) == [[0.5, 0.0]] * 4  # 4^(-1/2)
    one = [Unit(Conv(1, 1))]
    get_skip("fixup").initialise(one, nn.Linear(2, 2))
    assert values(one) == [[0.0]]


def test_deepnet_scales_by_its_beta_or_by_depth() -> None:
    four = [Unit(Linear(1, 1), Linear(1, 1)) for _ in range(4)]
    classifier = nn.Linear(2, 2)
    before = classifier.weight.clone()
    get_skip("weighted").initialise(four, classifier)
    assert values(four) == [[0.5, 0.5]] * 4  # (4 x 4)^(-1/4)
    assert torch.equal(classifier.weight, before)
    get_skip("weighted", (("beta", 0.25),)).initialise(four, classifier)
    assert values(four) == [[0.125, 0.125]] * 4


def test_other_styles_leave_the_starting_values() -> None:
    one = [Unit(Conv(1, 1))]
    for name in ("identity", "rezero", "highway", "dense", "scaled"):
        get_skip(name).initialise(one, nn.Linear(2, 2))
    assert values(one) == [[1.0]]


def test_a_registered_style_with_options_is_a_frozen_dataclass() -> None:
    with unchanged():

        @skip("mine")
        class Mine(Skip):
            """s(x) + gain F(x)."""

            formula = "s(x) + gain F(x)"

            gain: float = 0.5

            def merge(self, unit: UnitSpec) -> Merge | None:
                return WeightedSum(lambda place: (1.0, self.gain))

        assert skip_options("mine") == {"gain": 0.5}
        style = get_skip("mine", (("gain", 2.0),))
        assert style == SKIPS["mine"](gain=2.0)  # type: ignore[call-arg]
        assert SKIPS.entry("mine").summary == "s(x) + gain F(x)."
        with pytest.raises(AttributeError):
            style.gain = 3  # type: ignore[attr-defined]

        class Other(Mine):
            """Another."""

        with pytest.raises(RegistryError, match="skips: 'mine' is registered already"):
            skip("mine")(Other)
        skip("mine", replace=True)(Other)
        assert SKIPS["mine"] is Other


def merge(self: Skip, unit: UnitSpec) -> Merge | None:
    return None


WRONG: list[tuple[Any, str]] = [
    (int, "skips: 'mine': expected a class derived from Skip, got <class 'int'>"),
    (merge, None),
    (type("Bare", (Skip,), {"formula": "?"}), "skips: 'mine': Bare lacks the method merge"),
    (
        type("Bare", (Skip,), {"merge": merge}),
        "skips: 'mine': Bare lacks formula, such as formula = 's(x) + F(x)'",
    ),
    (
        type("Bare", (Skip,), {"merge": merge, "formula": "?", "__annotations__": {"gain": "float"}}),
        "skips: 'mine': the option gain needs a number as its default",
    ),
    (
        type("Bare", (Skip,), {"merge": merge, "formula": "?", "gain": "x", "__annotations__": {"gain": "float"}}),
        "skips: 'mine': the option gain needs a number as its default",
    ),
]


@pytest.mark.parametrize(("style", "said"), WRONG)
def test_what_is_no_style_is_refused(style: Any, said: str | None) -> None:
    with unchanged():
        with pytest.raises(RegistryError) as refused:
            skip("mine")(style)
        if said is None:
            assert str(refused.value).startswith(
                "skips: 'mine': expected a class derived from Skip, got <function merge"
            )
        else:
            assert str(refused.value) == said
        assert "mine" not in SKIPS
    with pytest.raises(RegistryError, match="skips: 'my skip' is no name"):
        skip("my skip")


def test_shared_values_of_a_class_are_no_options() -> None:
    with unchanged():

        @skip("mine")
        class Shared(Skip):
            """Shared."""

            formula: ClassVar[str] = "?"
            note: ClassVar[str] = "x"
            merge = merge

        assert skip_options("mine") == {}


def test_branches_and_shortcuts_of_every_style_are_layers() -> None:
    layers: Layers = (Conv(4, 8, 3, 2),)
    for name in SKIPS:
        style = get_skip(name)
        assert layers[0] in style.branch(layers, UNIT)
        assert style.shortcut(layers, UNIT) == layers
