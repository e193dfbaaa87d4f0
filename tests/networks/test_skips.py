"""Each skip style against its formula, computed here from the branch, the shortcut and the style's own weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from profiles import examples
from strategies import networks
from torch import Tensor, nn

from ressearch import Architecture, build
from ressearch.errors import ArchitectureError
from ressearch.networks.architecture import CHOICES
from ressearch.networks.attention import SelfAttention
from ressearch.networks.blocks import BLOCKS
from ressearch.networks.cost import input_channels
from ressearch.networks.module import ResidualNetwork, ResidualUnit
from ressearch.networks.skips import SKIPS, weighted_modules
from ressearch.shapes import Shape

STYLES = sorted(set(SKIPS) - {"none", "dense"})


def network(skip: str, block: str = "basic", blocks: int = 2, **fields: object) -> ResidualNetwork:
    """Two stages of a block, the second of another shape, in float64 and evaluation mode."""
    torch.manual_seed(0)
    fields = {"norm": "none"} | fields if skip == "fixup" else fields
    architecture = Architecture(block, (blocks, blocks), (8, 16), skip=skip, **fields)  # type: ignore[arg-type]
    return build(architecture, in_channels=3).double().eval()


def inputs(net: ResidualNetwork) -> list[tuple[ResidualUnit, Tensor]]:
    """Every unit of a network with the input it really gets."""
    caught: list[tuple[ResidualUnit, Tensor]] = []
    handles = [
        unit.register_forward_hook(lambda unit, args, out: caught.append((unit, args[0].clone()))) for unit in net.units
    ]
    shape = {"image": (3, 8, 8), "vector": (3,), "sequence": (5, 3)}[net.architecture.modality]
    with torch.no_grad():
        net(torch.randn(2, *shape, dtype=torch.float64))
    for handle in handles:
        handle.remove()
    return caught


def gate(unit: ResidualUnit, x: Tensor) -> Tensor:
    assert unit.merge is not None
    return torch.sigmoid(unit.merge.gate(x))  # type: ignore[operator]


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, 1, 1) if like.ndim == 4 else values


def formula(skip: str, unit: ResidualUnit, x: Tensor, index: int, count: int) -> Tensor:
    """The style's published formula at its documented starting values, before what follows the addition."""
    s, f = unit.shortcut(x), unit.branch(x)
    match skip:
        case "identity" | "fixup" | "conv_shortcut" | "dropout_shortcut":
            return s + f
        case "scaled":
            return s + 0.2 * f
        case "depth_scaled":
            return s + f / math.sqrt(count)
        case "rezero" | "skipinit":
            return s + 0.0 * f
        case "layerscale":
            return s + per_channel(torch.full((f.shape[1 if f.ndim == 4 else -1],), 1e-6), f) * f
        case "stochastic_depth":
            return s + (1 - (index + 1) / count * (1 - 0.5)) * f
        case "highway" | "exclusive_gating":
            return gate(unit, x) * f + (1 - gate(unit, x)) * s
        case "shortcut_gating":
            return f + (1 - gate(unit, x)) * s
        case "weighted":
            return count**0.25 * s + f
    raise AssertionError(skip)


@pytest.mark.parametrize("block", ["basic", "bottleneck", "inverted", "convnext", "mlp", "transformer"])
@pytest.mark.parametrize("skip", STYLES)
def test_each_style_starts_at_its_formula(skip: str, block: str) -> None:
    shortcut = {} if BLOCKS[block].defaults["shortcut"] == "projection" else {"shortcut": "projection"}
    net = network(skip, block, **shortcut)
    for index, (unit, x) in enumerate(inputs(net)):
        with torch.no_grad():
            before = unit.before(x)
            expected = unit.after(formula(skip, unit, before, index, len(net.units)))
            torch.testing.assert_close(unit(x), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("skip", "bias"), [("highway", -2.0), ("exclusive_gating", -6.0), ("shortcut_gating", -6.0)])
def test_gates_start_at_their_bias(skip: str, bias: float) -> None:
    for unit in network(skip).units:
        assert torch.equal(unit.merge.gate.bias, torch.full_like(unit.merge.gate.bias, bias))  # type: ignore[union-attr]
    assert network(skip, skip_options={"bias": -1.5}).units[0].merge.gate.bias[0] == -1.5  # type: ignore[union-attr]
    assert network("highway").units[0].merge.gate.kernel_size == (3, 3)  # type: ignore[union-attr]
    assert network("exclusive_gating").units[0].merge.gate.kernel_size == (1, 1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("skip", "options", "factor"),
    [
        ("scaled", {"alpha": 0.5, "beta": 0.5}, (0.5, 0.5)),
        ("rezero", {"initial": 0.75}, (1.0, 0.75)),
        ("skipinit", {"initial": 0.75}, (1.0, 0.75)),
        ("layerscale", {"initial": 0.125}, (1.0, 0.125)),
        ("weighted", {"alpha": 3.0}, (3.0, 1.0)),
    ],
)
def test_options_set_the_starting_values(skip: str, options: dict[str, float], factor: tuple[float, float]) -> None:
    for unit, x in inputs(network(skip, norm_order="pre", skip_options=options)):
        with torch.no_grad():
            x_in = unit.before(x)
            expected = factor[0] * unit.shortcut(x_in) + factor[1] * unit.branch(x_in)
            torch.testing.assert_close(unit(x), expected, rtol=1e-6, atol=1e-9)


def test_stochastic_depth_drops_whole_branches_at_the_published_rate() -> None:
    net = network("stochastic_depth", blocks=4, norm_order="pre", skip_options={"survival": 0.4}).train()
    unit, x = inputs(net)[-1]
    assert unit.merge.survival == pytest.approx(0.4)  # type: ignore[union-attr]
    assert net.units[0].merge.survival == pytest.approx(1 - 0.6 / 8)  # type: ignore[union-attr]
    torch.manual_seed(0)
    unit.eval()
    residual = unit.branch(x)
    unit.merge.train()  # type: ignore[union-attr]
    with torch.no_grad():
        kept = [not torch.equal(unit.merge(x, x, residual), x) for _ in range(500)]  # type: ignore[misc]
    assert 0.33 < sum(kept) / 500 < 0.47


def test_dropout_shortcut_drops_x_in_training_only() -> None:
    unit, x = inputs(network("dropout_shortcut", norm_order="pre"))[1]
    unit.merge.train()  # type: ignore[union-attr]
    with torch.no_grad():
        out = unit(x) - unit.branch(x)
    dropped = out.abs() < 1e-12
    assert 0.4 < dropped.double().mean() < 0.6
    torch.testing.assert_close(out[~dropped], 2 * x[~dropped])


@pytest.mark.parametrize("block", ["basic", "bottleneck", "single", "transformer"])
def test_fixup_starts_as_its_paper_says(block: str) -> None:
    net, he = network("fixup", block, blocks=3), network("identity", block, blocks=3, norm="none")
    count = len(net.units)
    assert not net.classifier.weight.any()
    assert not net.classifier.bias.any()
    for unit, reference in zip(net.units, he.units, strict=True):
        *others, last = weighted_modules(unit.branch)
        assert not last.weight.any()
        for module, plain in zip(others, weighted_modules(reference.branch), strict=False):
            scale = count ** (-1 / (2 * (len(others) + 1) - 2))
            assert float(module.weight.detach().std()) == pytest.approx(
                float(plain.weight.detach().std()) * scale, rel=0.25
            )
            assert module.bias is None or block == "transformer"


def test_deepnet_scales_branches_but_not_queries_and_keys() -> None:
    scaled, he = network("weighted", "transformer", blocks=3), network("identity", "transformer", blocks=3)
    beta = (4 * len(scaled.units)) ** -0.25
    for ours, plain in zip(scaled.units, he.units, strict=True):
        for module, reference in zip(ours.branch, plain.branch, strict=True):
            if isinstance(module, SelfAttention):
                queries_keys_values = module.project_in.weight.chunk(3)
                for part, other, factor in zip(
                    queries_keys_values, reference.project_in.weight.chunk(3), (1, 1, beta), strict=True
                ):
                    torch.testing.assert_close(part, factor * other)
                torch.testing.assert_close(module.project_out.weight, beta * reference.project_out.weight)
            elif isinstance(module, nn.Linear):
                torch.testing.assert_close(module.weight, beta * reference.weight)


def test_zero_gamma_starts_every_branch_at_zero() -> None:
    for unit, x in inputs(network("identity", zero_gamma=True, se_ratio=0.25, se_position="outer")):
        assert not unit.branch(x).any()
    with pytest.raises(ArchitectureError, match=r"zero_gamma: true is not compatible.*no norm ends the branch"):
        Architecture(zero_gamma=True, norm_order="pre")


@pytest.mark.parametrize("block", sorted(BLOCKS))
@pytest.mark.parametrize("norm", sorted(CHOICES["norm"]()))
def test_identity_with_zeroed_branches_is_exactly_the_identity(block: str, norm: str) -> None:
    net = network("identity", block, blocks=3, norm=norm, norm_order="pre")
    for unit, x in inputs(net):
        if len(unit.shortcut) or len(unit.before) or unit.merge is None:
            continue
        for parameter in unit.branch.parameters():
            nn.init.zeros_(parameter)
        assert torch.equal(unit(x), x)


def test_dense_concatenates_and_widths_follow_from_the_growth_rate() -> None:
    dense = Architecture("single", (2, 3), skip="dense", skip_options={"growth_rate": 6}, norm_order="pre")  # type: ignore[arg-type]
    assert (dense.stem_width, dense.widths) == (12, (24, 12 + 18))
    net = build(dense, in_channels=3).double().eval()
    for unit, x in inputs(net):
        out = unit(x)
        assert torch.equal(out[:, : x.shape[1]], x)
        assert torch.equal(out[:, x.shape[1] :], unit.branch(x))
    grown = Architecture("single", (4,), (32,), skip="dense", stem_width=10)
    assert [unit.branch[0].in_channels for unit in build(grown).units] == [10, 15, 21, 26]  # type: ignore[union-attr]
    with pytest.raises(ArchitectureError, match=r"widths: \[9, 9\] do not follow from growth_rate 6"):
        dense.replace(widths=(9, 9))
    with pytest.raises(ArchitectureError, match="each block adds at least one; expected at least 24"):
        build(Architecture("single", (8,), (20,), skip="dense", stem_width=16))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"skip": "fixup"},
            "norm: 'batch' is not compatible with skip 'fixup': Fixup stands in .*expected 'none'",
        ),
        ({"skip": "conv_shortcut", "shortcut": "pad"}, "shortcut: 'pad' is not compatible with skip 'conv_shortcut'"),
        (
            {"block": "inverted", "group_width": 4},
            "group_width: '4' is not compatible with block 'inverted'.*depthwise",
        ),
        ({"block": "transformer", "skip": "dense"}, "skip: 'dense' is not compatible with block 'transformer'"),
        ({"block": "mlp", "kernel_size": 3}, "kernel_size: '3' is not compatible with block 'mlp'"),
        ({"block": "mlp", "stem": "cifar"}, "stem: 'cifar' is not compatible with block 'mlp'.*expected linear"),
        ({"block": "mlp", "strides": (1, 2, 1)}, r"strides: \[1, 2, 1\] are not compatible with block 'mlp'"),
        ({"block": "mlp", "shortcut": "avgpool_projection"}, "shortcut: 'avgpool_projection' is not compatible"),
        ({"skip": "stochastic_depth", "skip_options": {"survival": 1.5}}, "skip_options.survival: 1.5 is not a prob"),
        ({"skip": "dropout_shortcut", "skip_options": {"rate": 1.0}}, "skip_options.rate: 1 is not a fraction below 1"),
        ({"skip": "dense", "skip_options": {"growth_rate": 2.5}}, "growth_rate: 2.5 is not a whole number"),
        ({"skip_options": 3}, "skip_options: 3 is not a mapping"),
        ({"dropout": 1.0}, "dropout: 1 is not a fraction below 1"),
    ],
)
def test_combinations_without_a_meaning_are_refused_by_name(fields: dict, said: str) -> None:
    with pytest.raises(ArchitectureError, match=said):
        Architecture(**fields)


def test_a_plain_network_has_one_shortcut_only() -> None:
    assert Architecture(skip="none", shortcut="pad") == Architecture(skip="none")


@examples(60)
@given(networks(num_classes=5))
def test_every_architecture_learns(drawn: tuple[Architecture, Shape]) -> None:
    """Forward gives finite logits of the right shape, backward a finite gradient for every weight; names round-trip."""
    architecture, shape = drawn
    assert Architecture.from_name(architecture.name) == architecture
    assert Architecture.from_json(architecture.to_json()) == architecture
    net = build(architecture, input_channels(shape), num_classes=5)
    logits = net(torch.randn(2, *shape))
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
