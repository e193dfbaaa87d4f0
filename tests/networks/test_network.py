from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples
from strategies import networks
from torch import nn

from ressearch import Architecture, build, plan
from ressearch.networks.cost import input_channels
from ressearch.networks.layers import Activation, Norm
from ressearch.networks.module import ResidualUnit
from ressearch.shapes import Shape


def units(network: nn.Module) -> list[ResidualUnit]:
    return [module for module in network.modules() if isinstance(module, ResidualUnit)]


def test_identity_skip_with_zeroed_branch_is_exactly_the_identity() -> None:
    network = build(Architecture(depths=(2, 2), widths=(4, 8), norm_order="pre"))
    unit = units(network)[1]
    for parameter in unit.branch.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(unit(x), x)


def test_post_activation_unit_is_relu_of_the_sum() -> None:
    unit = units(build(Architecture(depths=(2,), widths=(4,))))[1].eval()
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(unit(x), torch.relu(x + unit.branch(x)))


def test_plain_unit_has_no_way_around_the_branch() -> None:
    network = build(Architecture(depths=(2, 2), widths=(4, 8), skip="none"))
    assert all(unit.merge is None and len(unit.shortcut) == 0 for unit in units(network))


def test_pre_activation_is_shared_by_branch_and_projection() -> None:
    first, second = plan(Architecture(depths=(2,), widths=(8,), stem_width=4, norm_order="pre")).stages[0].units
    assert [type(layer) for layer in first.before] == [Norm, Activation]
    assert second.before == ()
    assert isinstance(second.branch[0], Norm)


def test_pad_shortcut_keeps_the_input_and_adds_zero_channels() -> None:
    unit = units(build(Architecture(depths=(1, 1), widths=(4, 8), shortcut="pad")))[1]
    x = torch.randn(1, 4, 6, 6)
    out = unit.shortcut(x)
    assert out.shape == (1, 8, 3, 3)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert out[:, :2].abs().sum() == out[:, 6:].abs().sum() == 0


def test_default_classes_follow_the_stem() -> None:
    assert build(Architecture(depths=(1,), widths=(4,)))(torch.randn(1, 3, 8, 8)).shape == (1, 10)
    assert build(Architecture(depths=(1,), widths=(4,), stem="imagenet"))(torch.randn(1, 3, 32, 32)).shape == (1, 1000)


def test_imagenet_stem_divides_the_side_by_four() -> None:
    network = build(Architecture(depths=(1,), widths=(4,), stem="imagenet"))
    assert network.stem(torch.randn(1, 3, 32, 32)).shape == (1, 4, 8, 8)


@pytest.mark.parametrize("norm_order", ["post", "pre"])
def test_gradients_vanish_in_deep_plain_networks_only(norm_order: str) -> None:
    def first_stage_gradient(skip: str) -> float:
        torch.manual_seed(0)
        architecture = Architecture(
            depths=(18, 18, 18), widths=(4, 8, 16), skip=skip, norm_order=norm_order, norm="none"
        )
        network = build(architecture, in_channels=1).double()
        out = network(torch.randn(4, 1, 8, 8, dtype=torch.float64))
        nn.functional.cross_entropy(out, torch.arange(4)).backward()
        norms = [p.grad.norm().item() for p in network.stages[0].parameters() if p.grad is not None and p.ndim > 1]
        return sum(norms) / len(norms)

    assert first_stage_gradient("none") < 1e-2 * first_stage_gradient("identity")


@examples(25)
@given(networks(side=8, num_classes=3), st.integers(0, 3))
def test_working_in_place_changes_no_gradient(drawn: tuple[Architecture, Shape], seed: int) -> None:
    architecture, shape = drawn
    gradients = []
    for in_place in (None, False):
        torch.manual_seed(seed)
        network = build(architecture, input_channels(shape), 3).double()
        for module in network.modules():
            if in_place is not None and isinstance(module, nn.ReLU):
                module.inplace = in_place
        torch.manual_seed(seed)
        inputs = torch.randn(4, *shape, dtype=torch.float64, requires_grad=True)
        network(inputs).square().sum().backward()
        gradients.append([inputs.grad, *(parameter.grad for parameter in network.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_relu_works_in_place_where_a_norm_or_convolution_precedes_it() -> None:
    post = build(Architecture(depths=(2,), widths=(4,)))
    assert all(module.inplace for module in post.modules() if isinstance(module, nn.ReLU))
    bare = build(Architecture(depths=(2,), widths=(4,), norm="none", norm_order="pre"))
    first = units(bare)[1].branch[0]
    assert isinstance(first, nn.ReLU)
    assert not first.inplace
