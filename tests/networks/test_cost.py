from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples
from strategies import architectures, input_shape, networks, saved_numbers, without_memory

from ressearch import Architecture, cost, plan
from ressearch.errors import ArchitectureError
from ressearch.networks.cost import Budget, Cost, breakdown
from ressearch.networks.layers import Layer, Norm
from ressearch.networks.plan import Chain, Residual
from ressearch.networks.presets import PRESETS
from ressearch.shapes import Shape
from ressearch.testing import counted
from ressearch.units import format_count, parse_count

FIGURES = json.loads((Path(__file__).parents[1] / "published.json").read_text())
PUBLISHED = FIGURES["networks"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_costs_equal_the_published_figures(name: str) -> None:
    published = PUBLISHED[name]
    ours = cost(Architecture.from_name(name), tuple(published["input"]))
    assert {key: getattr(ours, key) for key in published if key != "input"} == {
        key: value for key, value in published.items() if key != "input"
    }


@pytest.mark.parametrize("name", FIGURES["params_millions"])
def test_parameters_round_to_the_published_millions(name: str) -> None:
    millions = FIGURES["params_millions"][name]
    digits = len(millions.partition(".")[2])
    assert f"{cost(Architecture.preset(name)).params / 1e6:.{digits}f}" == millions


def test_each_preset_has_one_kind_of_evidence_and_the_pages_count_them() -> None:
    exact = [name for name in PUBLISHED if name in PRESETS]
    all_three = [name for name in exact if "macs" in PUBLISHED[name]]
    rounded = [*FIGURES["params_millions"], *FIGURES["weights_millions"]]
    none = list(FIGURES["no_figure"])
    assert sorted([*exact, *rounded, *none]) == sorted(PRESETS)
    pages = Path(__file__).parents[2]
    readme, space = (" ".join((pages / name).read_text().split()) for name in ("README.md", "docs/space.md"))
    assert f"# {len(PRESETS)} published networks; {len(exact)} equal published code's counts exactly" in readme
    assert (
        f"{len(PRESETS)} published networks are presets: {len(exact)} equal published counts exactly ({len(all_three)} "
        f"of them pycls' parameters, MACs and activations, {len(exact) - len(all_three)} torchvision's parameters), "
        f"{len(rounded)} have the rounded parameters of their papers or of timm's tables, and {len(none)} have no "
        "published figure"
    ) in space
    assert all(name in space for name in none)


def test_preresnets_weights_are_the_published_millions() -> None:
    # He et al. 2016, Table 4 says 10.2M for ResNet-1001 and 1.7M for ResNet-164: convolutions and classifier, no norms.
    for name, millions in {**FIGURES["weights_millions"], "preresnet164-cifar": "1.7"}.items():
        network = Architecture.preset(name)
        with_norms, without = cost(network).params, 0
        for part, count in plan(network).parts:
            layers = part.layers if isinstance(part, Chain) else [one for unit in part.units for one in every(unit)]
            without += count * sum(2 * layer.width for layer in layers if isinstance(layer, Norm))
        assert f"{(with_norms - without) / 1e6:.1f}" == millions


def every(unit: Residual) -> tuple[Layer, ...]:
    return (*unit.before, *unit.branch, *unit.shortcut, *unit.after)


@pytest.mark.parametrize("name", ["resnet56-cifar", "densenet100-bc-12-cifar", "convnext-tiny-imagenet"])
def test_the_parts_of_a_network_add_up_to_its_cost(name: str) -> None:
    rows = breakdown(Architecture.preset(name), (3, 64, 64))
    total = Cost()
    for row in rows:
        total = total + row.cost
    assert total == cost(Architecture.preset(name), (3, 64, 64))
    assert rows[0].stage == "stem"
    assert rows[-1].output_shape == (Architecture.preset(name).default_classes,)


@examples(150)
@given(architecture=architectures(), side=st.integers(9, 24))
def test_cost_equals_counting_the_built_network(architecture: Architecture, side: int) -> None:
    shape = input_shape(architecture, side)
    try:
        ours = cost(architecture, shape, 10)
    except ArchitectureError:
        with pytest.raises((ArchitectureError, RuntimeError)):  # RuntimeError: the image is too small for a window
            counted(architecture, shape)
        return
    assert without_memory(ours) == counted(architecture, shape)


@examples(40)
@given(networks())
def test_training_memory_is_a_lower_bound(drawn: tuple[Architecture, Shape]) -> None:
    assert 0 < cost(*drawn).saved <= saved_numbers(*drawn)


def test_training_memory_bound_is_near_for_a_published_network() -> None:
    network = Architecture.preset("resnet20-cifar")
    price = cost(network, (3, 32, 32))
    assert price.saved > 0.6 * saved_numbers(network, (3, 32, 32))
    assert price.training_memory(batch_size=0) == 4 * 3 * price.params
    assert price.training_memory(8) - price.training_memory(7) == 4 * price.saved


def test_impossible_inputs_are_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"is not \(channels, height, width\).*works on images"):
        cost(Architecture(), (32, 32))
    with pytest.raises(ArchitectureError, match="group_width: 7 does not divide"):
        cost(Architecture(group_width=7))


def test_counts_are_read_and_written() -> None:
    assert [parse_count(text) for text in ("40M", "1.5k", "2e6", 7, "1_000")] == [40_000_000, 1500, 2_000_000, 7, 1000]
    assert [format_count(count) for count in (855770, 125747850, 999999, 42)] == ["856k", "126M", "1M", "42"]
    for bad in ("", "M", "-3", "nan", True, "4X"):
        with pytest.raises(ValueError, match="count"):
            parse_count(bad)


def test_budget_allows_up_to_its_bounds() -> None:
    budget = Budget(max_params=10)
    assert budget.allows(Cost(10, 99, 99))
    assert not budget.allows(Cost(11, 0, 0))
