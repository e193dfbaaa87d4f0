"""The modules of a network: their order, which ReLUs work in place, and how a unit is applied."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ressearch import Architecture, build, plan
from ressearch.networks.layers import Activation, Affine, Conv, Linear, Norm
from ressearch.networks.merges import Place, WeightedSum
from ressearch.networks.module import ResidualNetwork, ResidualUnit, _sequential
from ressearch.networks.plan import Residual

RELU = Activation("relu")


@pytest.mark.parametrize(
    ("layers", "in_place"),
    [
        ((Conv(4, 4), RELU), [True]),
        ((Linear(4, 4), RELU), [True]),
        ((Norm("batch", 4), RELU), [True]),
        ((Affine("bias", 0.0), RELU), [False]),
        ((RELU,), [False]),
        ((RELU, Conv(4, 4), RELU, RELU), [False, True, False]),
    ],
)
def test_a_relu_works_in_place_after_what_keeps_no_output(layers: tuple, in_place: list[bool]) -> None:
    relus = [module for module in _sequential(layers, 1) if isinstance(module, nn.ReLU)]
    assert [module.inplace for module in relus] == in_place
    fresh = [module for module in _sequential(layers, 1, is_fresh=True) if isinstance(module, nn.ReLU)]
    assert fresh[0].inplace is (in_place[0] or isinstance(layers[0], Activation))
    assert [module.inplace for module in fresh][1:] == in_place[1:]


def test_a_unit_is_after_of_merge_of_shortcut_and_branch_of_before() -> None:
    description = Residual(
        (Affine("bias", 1.0),),
        (Affine("scale", 3.0),),
        (Affine("scale", 10.0),),
        WeightedSum(lambda place: (place.index, place.count)),
        (Affine("scale", 2.0), RELU),
    )
    unit = ResidualUnit(description, Place(1, 5))
    # x + 1, then 1 x 10 (x + 1) + 5 x 3 (x + 1), times 2
    assert unit(torch.tensor([[0.0, 1.0, -2.0]])).tolist() == [[50, 100, 0]]
    plain = ResidualUnit(description._replace(merge=None), Place(0, 1))
    assert plain(torch.tensor([[0.0, 1.0, -2.0]])).tolist() == [[6, 12, 0]]
    assert plain.merge is None
    two = ResidualUnit(description, Place(1, 5), 2)
    sizes = [part[0].value.numel() for part in (two.before, two.branch, two.shortcut, two.after)]  # type: ignore[union-attr]
    assert sizes == [2, 2, 2, 2]


def test_the_relu_after_the_meeting_works_in_place_and_that_before_the_branch_does_not() -> None:
    unit = ResidualUnit(Residual((RELU,), (RELU,), (RELU,), WeightedSum(), (RELU,)), Place(0, 1))
    parts = (unit.before, unit.branch, unit.shortcut, unit.after)
    assert [part[0].inplace for part in parts] == [False, False, False, True]  # type: ignore[union-attr]


def test_a_network_is_stem_stages_and_head_with_its_units_numbered() -> None:
    architecture = Architecture("transformer", (2, 1), (4, 8), skip="stochastic_depth", skip_options={"survival": 0.4})  # type: ignore[arg-type]
    network = ResidualNetwork(architecture, plan(architecture, 3, 5))
    assert [len(stage) for stage in network.stages] == [4, 2]  # two units a block
    survivals = [unit.merge.survival for unit in network.units]  # type: ignore[union-attr]
    assert survivals == pytest.approx([1 - 0.6 * index / 6 for index in range(1, 7)])
    assert network.architecture is architecture
    assert network.replicates == 1
    assert network.classifier is network.head[-1]
    assert network.classifier.out_features == 5


def test_a_transition_is_the_first_of_its_stage() -> None:
    network = build(Architecture("convnext", (1, 2), (4, 8)))
    first, second = network.stages
    assert [type(part).__name__ for part in first] == ["ResidualUnit"]
    assert [type(part).__name__ for part in second] == ["Sequential", "ResidualUnit", "ResidualUnit"]
    assert len(network.units) == 3


@pytest.mark.parametrize(("block", "head_width"), [("convnext", 4), ("transformer", None), ("mlp", 4)])
def test_replicates_are_in_every_part(block: str, head_width: int | None) -> None:
    architecture = Architecture(block, (1, 1), (4, 8), head_width=head_width)
    alone = ResidualNetwork(architecture, plan(architecture, 3, 5))
    three = ResidualNetwork(architecture, plan(architecture, 3, 5), 3)
    assert three.replicates == 3
    for part in ("stem", "stages", "head"):
        one, all_three = (
            sum(value.numel() for value in getattr(network, part).parameters()) for network in (alone, three)
        )
        assert all_three == 3 * one
