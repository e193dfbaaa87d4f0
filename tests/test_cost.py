from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ressearch import Architecture, build, cost
from ressearch.blocks import BLOCKS
from ressearch.cost import Budget, Cost, format_count, parse_count
from ressearch.errors import ArchitectureError
from ressearch.layers import ACTIVATIONS, NORMS
from ressearch.skips import SHORTCUTS, SKIPS

PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_text())["networks"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_costs_equal_the_published_figures(name: str) -> None:
    published = PUBLISHED[name]
    ours = cost(Architecture.preset(name), tuple(published["input"]))
    assert {key: getattr(ours, key) for key in published if key != "input"} == {
        key: value for key, value in published.items() if key != "input"
    }


def counted(architecture: Architecture, input_shape: tuple[int, ...]) -> Cost:
    """Count the built network: parameters by numel, MACs by torch's counter plus biases, activations by hooks."""
    tally = {"biases": 0, "activations": 0}

    def watch(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        tally["activations"] += output.numel()
        if getattr(module, "bias", None) is not None:
            tally["biases"] += output.numel()

    with torch.device("meta"):
        network = build(architecture, input_shape[0]).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear | nn.MaxPool2d):
                module.register_forward_hook(watch)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, *input_shape))
    params = sum(parameter.numel() for parameter in network.parameters())
    return Cost(params, counter.get_total_flops() // 2 + tally["biases"], tally["activations"])


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    stages = draw(st.integers(1, 3))
    each = {"min_size": stages, "max_size": stages}
    base = draw(st.sampled_from([4, 8, 12]))
    return Architecture(
        block=draw(st.sampled_from(sorted(BLOCKS))),
        depths=tuple(draw(st.lists(st.integers(1, 3), **each))),
        widths=tuple(base * 2**stage for stage in range(stages)),
        strides=tuple(draw(st.lists(st.integers(1, 2), **each))),
        bottleneck_ratio=draw(st.sampled_from([None, 0.5, 1.0, 2.0])),
        group_width=draw(st.sampled_from([None, 1, 2])),
        se_ratio=draw(st.sampled_from([0.0, 0.25])),
        kernel_size=draw(st.sampled_from([1, 3, 5])),
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
        norm=draw(st.sampled_from(sorted(NORMS))),
        norm_order=draw(st.sampled_from(["post", "pre"])),
        skip=draw(st.sampled_from(sorted(SKIPS))),
        shortcut=draw(st.sampled_from(sorted(SHORTCUTS))),
        stem=draw(st.sampled_from(["cifar", "imagenet"])),
        stem_width=draw(st.sampled_from([None, 2, 4])),
    )


@settings(max_examples=60, deadline=None)
@given(architecture=architectures(), side=st.integers(9, 24), channels=st.integers(1, 3))
def test_cost_equals_counting_the_built_network(architecture: Architecture, side: int, channels: int) -> None:
    try:
        ours = cost(architecture, (channels, side, side))
    except ArchitectureError:
        with pytest.raises(ArchitectureError):
            build(architecture, channels)
        return
    assert ours == counted(architecture, (channels, side, side))
    assert Architecture.from_name(architecture.name) == architecture
    assert Architecture.from_json(architecture.to_json()) == architecture


@settings(max_examples=30, deadline=None)
@given(architecture=architectures())
def test_forward_gives_finite_logits_of_the_right_shape(architecture: Architecture) -> None:
    try:
        network = build(architecture, in_channels=2, num_classes=5)
    except ArchitectureError:
        return
    logits = network(torch.randn(2, 2, 16, 16))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


def test_impossible_inputs_are_refused() -> None:
    with pytest.raises(ArchitectureError, match="is not \\(channels, height, width\\)"):
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
