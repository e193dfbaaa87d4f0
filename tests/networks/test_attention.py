"""Self-attention against torch's own, its cost against products counted by hand, the papers' positions and heads."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ressearch.errors import ArchitectureError
from ressearch.networks.attention import Attention, Positions, SelfAttention, heads_for
from ressearch.networks.layers import Cost
from ressearch.networks.replicated import stack_states


def test_attention_costs_its_projections_and_two_products() -> None:
    # 5 tokens: 6 to 24 and 8 to 8 channels with biases; 5 x 5 weights of 8 channels, made and used
    params = 6 * 24 + 24 + 8 * 8 + 8
    expected = Cost(params, 5 * params + 2 * 5 * 5 * 8, 5 * 24 + 5 * 8, 5 * 6 + 5 * 8)
    assert Attention(6, 8, 2).trace((5, 6)) == (expected, (5, 8))


def test_attention_says_its_heads() -> None:
    assert str(Attention(6, 8, 2)) == "attention, 2 heads, 8"
    assert str(Attention(6, 8, 1)) == "attention, 1 head, 8"
    assert Attention.weighted == 2


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_computes_what_torchs_own_computes(heads: int) -> None:
    torch.manual_seed(0)
    ours, reference = Attention(8, 8, heads).module(), nn.MultiheadAttention(8, heads, batch_first=True)
    assert isinstance(ours, SelfAttention)
    with torch.no_grad():
        reference.in_proj_weight.copy_(ours.project_in.weight)
        reference.in_proj_bias.copy_(ours.project_in.bias)
        reference.out_proj.weight.copy_(ours.project_out.weight)
        reference.out_proj.bias.copy_(ours.project_out.bias)
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(ours(x), reference(x, x, x)[0])
    assert ours.heads == heads


def test_attention_may_change_the_width() -> None:
    module = Attention(6, 8, 2).module()
    assert repr(module.project_in) == repr(nn.Linear(6, 24))
    assert repr(module.project_out) == repr(nn.Linear(8, 8))
    assert module(torch.zeros(2, 5, 6)).shape == (2, 5, 8)


def test_replicates_attend_each_to_itself() -> None:
    torch.manual_seed(0)
    layer = Attention(6, 8, 2)
    alone = [layer.module() for _ in range(3)]
    together = layer.module(3)
    stack_states(together, alone)
    inputs = [torch.randn(4, 5, 6) for _ in alone]
    expected = torch.cat([one(input) for one, input in zip(alone, inputs, strict=True)], -1)
    torch.testing.assert_close(together(torch.cat(inputs, -1)), expected)


@pytest.mark.parametrize(
    ("width", "head_width", "heads"),
    [
        (512, None, 8),
        (64, None, 1),
        (16, None, 1),
        (1, None, 1),
        (192, None, 3),
        (200, None, 2),  # three heads wanted, 2 and 4 divide: the first of the nearest
        (320, None, 5),
        (384, 32, 12),
        (24, 24, 1),
        (24, 1, 24),
        (97, None, 1),
        (448, None, 7),
    ],
)
def test_heads_are_of_64_channels_or_the_nearest_that_divides(width: int, head_width: int | None, heads: int) -> None:
    assert heads_for(width, head_width) == heads


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ArchitectureError) as refused:
        heads_for(16, 5)
    assert str(refused.value) == "group_width: heads of 5 channels do not divide a width of 16"


@pytest.mark.parametrize("width", [5, 6])
def test_positions_are_the_sines_and_cosines_of_the_paper(width: int) -> None:
    tokens = 4
    expected = [
        [
            (math.cos if channel % 2 else math.sin)(token / 10000 ** ((channel - channel % 2) / width))
            for channel in range(width)
        ]
        for token in range(tokens)
    ]
    x = torch.randn(2, tokens, width)
    torch.testing.assert_close(Positions().module()(x), x + torch.tensor(expected))
    torch.testing.assert_close(Positions().module(2)(torch.cat([x, 3 * x], -1)),
                               torch.cat([x + torch.tensor(expected), 3 * x + torch.tensor(expected)], -1))  # fmt: skip


def test_positions_cost_nothing_and_keep_the_type() -> None:
    assert Positions().trace((4, 6)) == (Cost(), (4, 6))
    assert str(Positions()) == "+ positions"
    assert Positions().module()(torch.zeros(1, 2, 4, dtype=torch.float16)).dtype == torch.float16
    assert Positions().module()(torch.zeros(1, 2, 4, dtype=torch.float64)).dtype == torch.float64
