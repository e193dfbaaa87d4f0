"""Where x and F(x) meet, against the formulas, alone and as replicates side by side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ressearch.networks.layers import Conv, Cost, Linear
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

PLACE = Place(2, 8)
X, S, F = (torch.tensor([[row]]).float() for row in ([1.0, 2, 3, 4], [5.0, 6, 7, 8], [10.0, 20, 30, 40]))


def merged(merge: Merge, x: Tensor = X, s: Tensor = S, f: Tensor = F, replicates: int = 1) -> list:
    return merge.module(PLACE, replicates).eval()(x, s, f).flatten().tolist()


def test_a_weighted_sum_has_the_constants_of_its_place() -> None:
    assert merged(WeightedSum()) == [15, 26, 37, 48]
    weighted = WeightedSum(lambda place: (place.index, place.count))
    assert merged(weighted) == [90, 172, 254, 336]
    assert str(weighted.module(PLACE)) == "_WeightedSum(shortcut_scale=2, residual_scale=8)"
    assert WeightedSum().trace((3, 2, 2), (4, 2, 2)) == (Cost(), (4, 2, 2))
    assert WeightedSum.adds


def test_a_learned_scale_is_one_number_or_one_for_each_channel() -> None:
    one, each = LearnedScale(1, 0.5).module(PLACE), LearnedScale(4, 0.25).module(PLACE)
    assert one.scale.tolist() == [0.5]
    assert each.scale.tolist() == [0.25] * 4
    assert one(X, S, F).flatten().tolist() == [10, 16, 22, 28]
    with torch.no_grad():
        each.scale.copy_(torch.tensor([1.0, 2, 3, 4]))
    assert each(X, S, F).flatten().tolist() == [15, 46, 97, 168]
    two = LearnedScale(1, 0.5).module(PLACE, 2)
    assert two.scale.tolist() == [0.5, 0.5]
    with torch.no_grad():
        two.scale.copy_(torch.tensor([1.0, 2]))
    assert two(X, S, F).flatten().tolist() == [15, 26, 67, 88]
    assert LearnedScale(2, 0.5).module(PLACE, 2).scale.shape == (4,)
    assert LearnedScale(4, 0.5).trace((3,), (4,)) == (Cost(params=4), (4,))


def test_survival_scales_in_evaluation_and_draws_for_each_replicate_in_training() -> None:
    survival = Survival(lambda place: place.index / place.count)
    assert merged(survival) == [7.5, 11, 14.5, 18]
    module = survival.module(PLACE, 2)
    assert str(module) == "_Survival(survival=0.25)"
    assert survival.trace((4,), (4,)) == (Cost(), (4,))
    module.generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    drawn = [torch.rand((), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    seen = {tuple(module(X, S, F).flatten().tolist()) for _ in range(1)}
    alive = [10 * float(one < 0.25) for one in drawn]
    assert seen == {(5 + alive[0], 6 + 2 * alive[0], 7 + 3 * alive[1], 8 + 4 * alive[1])}
    certain = Survival(lambda place: 1.0).module(PLACE)
    assert certain(X, S, F).flatten().tolist() == [15, 26, 37, 48]
    never = Survival(lambda place: 0.0).module(PLACE)
    assert torch.equal(never(X, S, F), S)
    half = Survival(lambda place: 0.5).module(PLACE)
    assert half(X.double(), S.double(), F.double()).dtype == torch.float64


def test_survival_draws_below_the_probability_are_kept() -> None:
    module = Survival(lambda place: 0.5).module(PLACE)
    for seed in range(8):
        module.generators = [torch.Generator().manual_seed(seed)]
        is_kept = bool(torch.rand((), generator=torch.Generator().manual_seed(seed)) < 0.5)
        assert torch.equal(module(X, S, F), S + F if is_kept else S)


def test_dropout_of_the_shortcut_leaves_the_branch() -> None:
    assert merged(DropoutShortcut(0.5)) == [15, 26, 37, 48]
    module = DropoutShortcut(0.5).module(PLACE, 2)
    assert (module.dropout.rate, module.dropout.replicates) == (0.5, 2)
    module.dropout.generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    kept = torch.cat([torch.rand(1, 1, 2, generator=torch.Generator().manual_seed(seed)) >= 0.5 for seed in (1, 2)], -1)
    assert torch.equal(module(X, S, F), 2 * S * kept + F)


@pytest.mark.parametrize("gates_residual", [True, False])
def test_a_gate_lets_through_what_its_formula_says(gates_residual: bool) -> None:
    merge = Gated(Linear(4, 4), -1.5, gates_residual)
    module = merge.module(PLACE)
    assert module.initial_bias == -1.5
    g = torch.sigmoid(module.gate(X))
    expected = (1 - g) * S + (g * F if gates_residual else F)
    torch.testing.assert_close(module(X, S, F), expected)
    assert merge.module(PLACE, 2).gate.weight.shape == (2, 4, 4)


def test_a_gate_costs_its_layer_which_keeps_nothing_more() -> None:
    gate = Gated(Conv(3, 4, 3, 2, bias=True), 0.0, True)
    assert gate.trace((3, 4, 4), (4, 2, 2)) == (Cost(112, 448, 16, 0), (4, 2, 2))


def test_concatenation_puts_the_channels_side_by_side_in_each_replicate() -> None:
    concatenation = Concatenation()
    assert not concatenation.adds
    assert merged(concatenation) == [1, 2, 3, 4, 10, 20, 30, 40]
    assert merged(concatenation, f=F[..., :2], replicates=2) == [1, 2, 10, 3, 4, 20]
    image, other = torch.arange(8.0).view(1, 4, 2, 1), 10 * torch.arange(4.0).view(1, 2, 2, 1)
    two = concatenation.module(PLACE, 2)(image, image, other)
    assert two.shape == (1, 6, 2, 1)
    assert two.flatten().tolist() == [0, 1, 2, 3, 0, 10, 4, 5, 6, 7, 20, 30]
    assert torch.equal(concatenation.module(PLACE)(image, image, other), torch.cat([image, other], 1))
    assert concatenation.trace((3, 2, 5), (4, 2, 5)) == (Cost(), (7, 2, 5))
    assert concatenation.trace((9, 3), (9, 4)) == (Cost(), (9, 7))
    assert concatenation.trace((3,), (4,)) == (Cost(), (7,))


def test_merges_are_modules_of_one_replicate_where_nobody_says_otherwise() -> None:
    for merge in (Survival(lambda place: 0.5), DropoutShortcut(0.5), Concatenation()):
        replicates = [module.replicates for module in merge.module(PLACE).modules() if hasattr(module, "replicates")]
        assert replicates == [1]
    assert isinstance(Gated(Linear(2, 2), 0.0, True).module(PLACE).gate, nn.Linear)
