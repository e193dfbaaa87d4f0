"""The calls of a network's parts, against hooks on the built network; and their interpolation, against known times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ressearch
from ressearch import Architecture
from ressearch.networks import layer_times
from ressearch.networks.attention import Positions
from ressearch.networks.layer_times import Interpolation, Op, measure_op, ops
from ressearch.networks.layers import Activation, Conv, GlobalAveragePool, Linear, Norm
from ressearch.networks.merges import Concatenation, Merge, Survival, WeightedSum
from ressearch.networks.module import ResidualUnit
from ressearch.networks.plan import Part, plan

NETWORKS = [
    (Architecture("basic", (2, 1), (4, 8)), (3, 8, 8)),
    (Architecture("bottleneck", (1, 2), (8, 16), norm_order="pre", shortcut="projection"), (3, 8, 8)),
    (Architecture("basic", (2, 2), (4, 8), skip="none"), (3, 8, 8)),
    (Architecture("inverted", (1, 1), (8, 16), se_ratio=0.25), (3, 8, 8)),
    (Architecture("transformer", (2,), (8,)), (5, 3)),
    (Architecture("mlp", (2,), (8,)), (7,)),
]


def every_op(architecture: Architecture, shape: tuple[int, ...]) -> list[Op]:
    found = []
    for part, count in plan(architecture, shape[0] if len(shape) == 3 else shape[-1], 10).parts:
        for _ in range(count):
            found += list(ops(part, shape))
            shape = part.trace(shape)[1]
    return found


def called(architecture: Architecture, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shape that enters each layer (and F(x), of a merge) of the built network, seen by hooks."""
    network = ressearch.build(architecture, shape[0] if len(shape) == 3 else shape[-1], 10).eval()
    seen: list[tuple[int, ...]] = []

    def note(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        seen.append(tuple(given[-1].shape[1:]))

    chains = [network.stem, network.head]
    for stage in network.stages:
        for module in stage:  # type: ignore[attr-defined]
            if not isinstance(module, ResidualUnit):
                chains.append(module)
                continue
            chains += [module.before, module.branch, module.shortcut, module.after]
            if module.merge is not None:
                module.merge.register_forward_pre_hook(note)
    for layer in (layer for chain in chains for layer in chain):
        layer.register_forward_pre_hook(note)
    network(torch.zeros(1, *shape))
    return seen


@pytest.mark.parametrize(("architecture", "shape"), NETWORKS, ids=lambda one: getattr(one, "name", ""))
def test_the_calls_are_those_of_the_built_network(architecture: Architecture, shape: tuple[int, ...]) -> None:
    found = [op.shape for op in every_op(architecture, shape)]
    assert sorted(found) == sorted(called(architecture, shape))
    assert found[0] == shape


def test_a_merge_is_called_with_x_and_with_what_the_branch_gives() -> None:
    dense = Architecture("basic", (2,), (20,), stem_width=4, skip="dense", skip_options={"growth_rate": 8})
    merges = [op for op in every_op(dense, (3, 8, 8)) if isinstance(op.layer, Merge)]
    assert [(op.x_shape, op.shape) for op in merges] == [((4, 8, 8), (8, 8, 8)), ((12, 8, 8), (8, 8, 8))]


def test_other_parts_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^a Part is no chain of layers and no block$"):
        list(ops(Part(), (3, 8, 8)))


def test_keys_name_all_that_changes_a_time_and_nothing_else() -> None:
    conv = Op(Conv(4, 8, 3), (4, 8, 8))
    assert conv.key == "Conv(in_width=4, width=8, kernel=3, stride=1, groups=1, bias=False, padding=None) 4x8x8"
    others = [Op(Conv(4, 8, 5), (4, 8, 8)), Op(Conv(4, 8, 3, groups=4), (4, 8, 8)), Op(Conv(4, 8, 3), (4, 8, 9))]
    assert len({conv.key, *(one.key for one in others)}) == 4
    place = [
        Op(Survival(lambda place: 0.5), (4, 8, 8), (4, 8, 8)),
        Op(Survival(lambda place: 0.9), (4, 8, 8), (4, 8, 8)),
    ]
    assert {one.key for one in place} == {"Survival() 4x8x8+4x8x8"}


def test_kinds_are_types_with_their_choices_and_ranks() -> None:
    kinds = [
        Op(Conv(4, 8, 3), (4, 8, 8)),
        Op(Conv(4, 8), (4, 8, 8)),
        Op(Conv(8, 8, 3, groups=8), (8, 8, 8)),
        Op(Norm("batch", 4), (4, 8, 8)),
        Op(Activation("gelu"), (5, 4)),
        Op(Positions(), (5, 4)),
    ]
    assert [one.kind for one in kinds] == [
        "Conv kxk 3d",
        "Conv 1x1 3d",
        "Conv grouped 3d",
        "Norm batch image 3d",
        "Activation gelu 2d",
        "Positions 2d",
    ]


def test_features_are_logarithms_counted_by_hand() -> None:
    found = Op(Conv(4, 24, 3, stride=2, groups=2), (4, 8, 8)).features
    macs, out = 9 * 2 * 24 * 16, 24 * 16
    expected = [macs + 1, 256, out, 9 * 2 * 24 + 1, 4, 24, 16 / 4, 32 / 24, 2, 3]
    assert found == pytest.approx([math.log(one) for one in expected])
    merge = Op(Concatenation(), (8, 4, 4), (4, 4, 4)).features
    assert merge[1:3] == pytest.approx([math.log(128), math.log(192)])
    assert Op(Linear(3, 5), (7, 3)).features[:3] == pytest.approx([math.log(7 * 20 + 1), math.log(21), math.log(35)])


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        (Op(Conv(4, 8, 3), (4, 8, 8)), [(2, 4, 8, 8)]),
        (Op(GlobalAveragePool("sequence"), (5, 3)), [(2, 5, 3)]),
        (Op(WeightedSum(), (8, 4, 4), (4, 8, 8)), [(2, 4, 8, 8), (2, 8, 4, 4), (2, 8, 4, 4)]),
        (Op(Concatenation(), (8, 8, 8), (4, 8, 8)), [(2, 4, 8, 8), (2, 4, 8, 8), (2, 8, 8, 8)]),
    ],
    ids=lambda one: one.kind if isinstance(one, Op) else "",
)
def test_a_call_is_measured_on_inputs_of_its_shapes(
    op: Op, inputs: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    module = type(op.layer).module

    def noted(self: Any, *given: Any) -> nn.Module:
        built = module(self, *given)
        built.register_forward_pre_hook(
            lambda one, tensors: seen.append(([tuple(each.shape) for each in tensors], one.training))
        )
        return built

    def told(call: Any, threads: int) -> float:
        call()
        return 0.25 if threads == 3 else math.nan

    monkeypatch.setattr(type(op.layer), "module", noted)
    monkeypatch.setattr(layer_times, "time_briefly", told)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    assert measure_op(op, 2, torch.device("cpu"), 3) == 0.25
    assert seen == [(inputs, False)]
    assert torch.equal(torch.random.get_rng_state(), before)


def seconds_of(op: Op) -> float:
    """Give each call a time as a device might: an overhead, and so much for a MAC and an element."""
    assert isinstance(op.layer, Conv)
    macs = op.layer.trace(op.shape)[0].macs
    return 2e-6 + 1e-10 * macs + 2e-10 * math.prod(op.shape)


def convs(widths: list[int], kernel: int = 3) -> list[Op]:
    return [Op(Conv(a, b, kernel), (a, side, side)) for a in widths for b in widths for side in (8, 16)]


def test_what_lies_between_measured_calls_is_interpolated() -> None:
    known = convs([8, 16, 32, 48, 64])
    surface = Interpolation.fit([(one, seconds_of(one)) for one in known])
    unseen = convs([12, 24, 40, 56])
    errors = [surface.seconds(one) / seconds_of(one) - 1 for one in unseen]
    assert np.median(np.abs(errors)) < 0.03
    assert np.max(np.abs(errors)) < 0.2
    assert max(abs(surface.seconds(one) / seconds_of(one) - 1) for one in known) < 0.1


def test_a_kind_with_few_calls_shares_the_surface_of_all() -> None:
    many = convs([8, 16, 32])
    measured = [(one, seconds_of(one)) for one in many]
    few = [(Op(Activation("relu"), (width, 8, 8)), 1e-6) for width in (8, 16, 24, 32, 40)]
    assert set(Interpolation.fit(measured + few).surfaces) == {"", "Conv kxk 3d"}
    enough = [*few, (Op(Activation("relu"), (48, 8, 8)), 1e-6)]
    both = Interpolation.fit(measured + enough)
    assert set(both.surfaces) == {"", "Conv kxk 3d", "Activation relu 3d"}
    assert both.seconds(Op(Activation("relu"), (20, 8, 8))) == pytest.approx(1e-6, rel=0.01)
    assert both.seconds(Op(Activation("gelu"), (20, 8, 8))) == pytest.approx(
        both.surfaces[""].seconds(np.array(Op(Activation("gelu"), (20, 8, 8)).features))
    )


def test_a_fit_takes_a_share_of_very_many_calls() -> None:
    known = [(one, seconds_of(one)) for one in convs(list(range(8, 26)))]
    assert len(known) == 648
    assert len(layer_times.fit_surface(known).points) == 130  # each fifth
    assert len(layer_times.fit_surface(known[:150]).points) == 150
