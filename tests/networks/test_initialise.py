"""Starting values against torch's own draws, in the order of the modules, with deviations worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ressearch import Architecture, build
from ressearch.networks.initialise import initialise
from ressearch.networks.module import ResidualNetwork


def filled(architecture: Architecture, in_channels: int = 3) -> ResidualNetwork:
    """A network whose every parameter was 7 before `initialise` drew it with seed 5."""
    network = build(architecture, in_channels, 10)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 7.0)
    torch.manual_seed(5)
    initialise(network)
    return network


def normals(tensors: list[Tensor], deviations: list[float]) -> list[Tensor]:
    """What torch draws with seed 5 for tensors of such shapes, one after another."""
    torch.manual_seed(5)
    return [torch.empty_like(one).normal_(0, std) for one, std in zip(tensors, deviations, strict=True)]


def assert_equal(ours: list[Tensor], reference: list[Tensor]) -> None:
    for one, other in zip(ours, reference, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)


def test_convolutions_are_drawn_by_the_fan_out_of_their_group() -> None:
    network = filled(
        Architecture("bottleneck", (1,), (8,), bottleneck_ratio=0.5, group_width=2, se_ratio=0.5, norm="none")
    )
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    # 3x3 to 4 | 1x1 to 4, 3x3 to 4 in two groups, squeeze to 2, excite to 4, 1x1 to 8 | shortcut, 1x1 to 8
    fan_outs = [36, 4, 18, 2, 4, 8, 8]
    weights = [conv.weight.detach() for conv in convs]
    assert_equal(weights, normals(weights, [math.sqrt(2 / fan_out) for fan_out in fan_outs]))
    assert all(conv.bias is not None and not conv.bias.any() for conv in convs)


def test_the_classifier_keeps_what_it_has_and_norms_too() -> None:
    network = filled(Architecture(depths=(1,), widths=(4,)))
    assert (network.classifier.weight == 7).all()
    assert (network.classifier.bias == 7).all()
    assert (network.stem[1].weight == 7).all()  # type: ignore[union-attr]


def test_linear_layers_are_drawn_by_their_fan_in_and_their_biases_are_zero() -> None:
    network = filled(Architecture("mlp", (1,), (6,), bottleneck_ratio=2.0), in_channels=5)
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)][:-1]
    weights = [linear.weight.detach() for linear in linears]
    assert_equal(weights, normals(weights, [math.sqrt(2 / fan_in) for fan_in in (5, 6, 12)]))
    assert not any(linear.bias.any() for linear in linears)


def test_the_projections_of_attention_are_xavier_uniform_each_by_itself() -> None:
    network = filled(Architecture("transformer", (1,), (6,), group_width=3), in_channels=5)
    attention = network.units[0].branch[1]
    linears = [module for module in network.modules() if isinstance(module, nn.Linear)][:-1]
    shapes = [linear.weight.detach() for linear in linears]
    normals(shapes, [1.0] * len(shapes))  # drawn first, then overwritten
    bound = math.sqrt(6 / (6 + 6))
    expected = [torch.empty(6, 6).uniform_(-bound, bound) for _ in range(4)]
    ours = [*attention.project_in.weight.detach().chunk(3), attention.project_out.weight.detach()]  # type: ignore[union-attr]
    assert_equal(ours, expected)
    assert not attention.project_in.bias.any()  # type: ignore[union-attr]
    assert not attention.project_out.bias.any()  # type: ignore[union-attr]


def test_the_bias_of_every_gate_is_the_option() -> None:
    network = filled(Architecture("basic", (2,), (4,), skip="highway", skip_options={"bias": -1.25}))  # type: ignore[arg-type]
    assert [unit.merge.gate.bias.tolist() for unit in network.units] == [[-1.25] * 4] * 2  # type: ignore[union-attr]


@pytest.mark.parametrize("block", ["basic", "mlp", "bottleneck"])
@pytest.mark.parametrize("norm", ["batch", "group", "layer"])
def test_zero_gamma_zeroes_the_gain_of_each_branch_and_no_other(block: str, norm: str) -> None:
    architecture = Architecture(block, (2,), (8,), norm=norm, norm_order="post", zero_gamma=True)
    network = filled(architecture, in_channels=3)
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
    for unit in network.units:
        *others, last = [module for module in unit.branch.modules() if isinstance(module, kinds)]
        assert not last.weight.any()
        assert (last.bias == 7).all()
        assert others
        assert all((one.weight == 7).all() for one in others)
    untouched = filled(Architecture(block, (2,), (8,), norm=norm, norm_order="post"), in_channels=3)
    gains = [one.weight for unit in untouched.units for one in unit.modules() if isinstance(one, kinds)]
    assert all((gain == 7).all() for gain in gains)


def test_the_skip_style_has_the_last_word_with_its_options() -> None:
    options = {"beta": 0.5}
    scaled = filled(Architecture(depths=(1,), widths=(4,), skip="weighted", skip_options=options))  # type: ignore[arg-type]
    plain = filled(Architecture(depths=(1,), widths=(4,)))
    assert torch.equal(scaled.units[0].branch[0].weight, 0.5 * plain.units[0].branch[0].weight)  # type: ignore[operator]
    assert torch.equal(scaled.stem[0].weight, plain.stem[0].weight)  # type: ignore[arg-type]
    fixup = filled(Architecture(depths=(1,), widths=(4,), skip="fixup", norm="none"))
    assert not fixup.classifier.weight.any()
