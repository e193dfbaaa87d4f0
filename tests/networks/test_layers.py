"""Every layer against torch's own and against counts made by hand: what it costs, builds, computes and is called."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from ressearch.errors import ArchitectureError
from ressearch.networks.layers import (
    Activation,
    Affine,
    AveragePool,
    Conv,
    Cost,
    Dropout,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    Norm,
    ShapeError,
    SqueezeExcite,
    SubsampleAndPad,
    norm_layers,
    pointwise,
    trace,
)
from ressearch.shapes import Shape

COUNTED: list[tuple[Layer, Shape, Cost, Shape, str]] = [
    (Conv(3, 8, 3), (3, 9, 7), Cost(216, 216 * 63, 8 * 63, 189), (8, 9, 7), "3×3 conv, 8"),
    (Conv(4, 8), (4, 2, 3), Cost(32, 192, 48, 24), (8, 2, 3), "1×1 conv, 8"),
    (
        Conv(4, 8, 3, 2, 2, bias=True),
        (4, 9, 7),
        Cost(9 * 2 * 8 + 8, 152 * 20, 160, 252),
        (8, 5, 4),
        "3×3 conv in 2 groups stride 2, 8",
    ),
    (Conv(4, 8, 4, 4, padding=0), (4, 9, 8), Cost(512, 2048, 32, 288), (8, 2, 2), "4×4 conv stride 4, 8"),
    (Conv(4, 4, 3, groups=4), (4, 5, 5), Cost(36, 900, 100, 100), (4, 5, 5), "3×3 depthwise, 4"),
    (Conv(4, 8, 3, groups=4), (4, 5, 5), Cost(72, 1800, 200, 100), (8, 5, 5), "3×3 conv in 4 groups, 8"),
    (Linear(5, 7), (5,), Cost(42, 42, 7, 5), (7,), "linear, 7"),
    (Linear(5, 7, bias=False), (4, 5), Cost(35, 140, 28, 20), (4, 7), "linear, 7"),
    (Norm("batch", 6), (6, 2, 3), Cost(params=12, saved=36), (6, 2, 3), "batch norm"),
    (Norm("layer", 6, "sequence"), (4, 6), Cost(params=12, saved=24), (4, 6), "layer norm"),
    (Activation("relu"), (6, 2, 3), Cost(), (6, 2, 3), "ReLU"),
    (Activation("silu"), (5,), Cost(), (5,), "SiLU"),
    (Activation("gelu"), (4, 5), Cost(), (4, 5), "GELU"),
    (MaxPool(), (4, 9, 7), Cost(activations=80), (4, 5, 4), "3×3 max pool stride 2"),
    (MaxPool(5, 3), (2, 9, 8), Cost(activations=18), (2, 3, 3), "5×5 max pool stride 3"),
    (AveragePool(2), (4, 9, 7), Cost(), (4, 5, 4), "2×2 average pool"),
    (GlobalAveragePool(), (4, 9, 7), Cost(), (4,), "global average pool"),
    (GlobalAveragePool("sequence"), (9, 4), Cost(), (4,), "global average pool"),
    (GlobalAveragePool("vector"), (4,), Cost(), (4,), "global average pool"),
    (SubsampleAndPad(4, 7, 2), (4, 9, 8), Cost(), (7, 5, 4), "pad with zeros, 7, stride 2"),
    (SubsampleAndPad(4, 7, 1), (4, 9, 8), Cost(), (7, 9, 8), "pad with zeros, 7"),
    (SubsampleAndPad(4, 7, 1, "vector"), (4,), Cost(), (7,), "pad with zeros, 7"),
    (SubsampleAndPad(4, 7, 1, "sequence"), (9, 4), Cost(), (9, 7), "pad with zeros, 7"),
    (SqueezeExcite(8, 2), (8, 5, 5), Cost(18 + 24, 18 + 24, 10), (8, 5, 5), "squeeze-excite, 2"),
    (Affine("scale", 1.0), (8, 5, 5), Cost(params=1), (8, 5, 5), "× scale"),
    (Affine("bias", 0.0), (8,), Cost(params=1), (8,), "+ bias"),
    (Dropout(0.25), (8, 5, 5), Cost(), (8, 5, 5), "dropout 0.25"),
]


@pytest.mark.parametrize(("layer", "shape", "cost", "out", "text"), COUNTED)
def test_a_layer_costs_what_was_counted_by_hand(layer: Layer, shape: Shape, cost: Cost, out: Shape, text: str) -> None:
    assert layer.trace(shape) == (cost, out)
    assert str(layer) == text


@pytest.mark.parametrize("layer", COUNTED)
def test_a_module_gives_the_shape_that_was_said_for_any_replicates(layer: tuple) -> None:
    one, shape, cost, out, _ = layer
    for replicates in (1, 2, 3):
        channels = 0 if len(shape) == 3 else len(shape) - 1
        wide, wide_out = list(shape), list(out)
        wide[channels] *= replicates
        wide_out[min(channels, len(out) - 1)] *= replicates
        module = one.module(replicates)
        module.requires_grad_(False)
        assert module(torch.zeros(2, *wide)).shape == (2, *wide_out)
        assert sum(parameter.numel() for parameter in module.parameters()) == replicates * cost.params


@pytest.mark.parametrize("layer", COUNTED)
def test_a_module_is_of_one_replicate_where_nobody_says_otherwise(layer: tuple) -> None:
    module = layer[0].module()
    assert sum(parameter.numel() for parameter in module.parameters()) == layer[2].params
    assert getattr(module, "replicates", 1) == 1


TORCH: list[tuple[Layer, int, nn.Module]] = [
    (Conv(4, 8, 3, 2, 2, bias=True), 1, nn.Conv2d(4, 8, 3, 2, 1, groups=2)),
    (Conv(4, 8, 3, 2, 2, bias=True), 3, nn.Conv2d(12, 24, 3, 2, 1, groups=6)),
    (Conv(4, 8, 5), 1, nn.Conv2d(4, 8, 5, padding=2, bias=False)),
    (Conv(4, 8, 4, 4, padding=0), 2, nn.Conv2d(8, 16, 4, 4, groups=2, bias=False)),
    (Linear(5, 7), 1, nn.Linear(5, 7)),
    (Linear(5, 7, bias=False), 1, nn.Linear(5, 7, bias=False)),
    (Norm("batch", 6), 2, nn.BatchNorm2d(12)),
    (Norm("batch", 6, "vector"), 2, nn.BatchNorm1d(12)),
    (Norm("group", 6), 1, nn.GroupNorm(3, 6)),
    (Norm("group", 6, "vector"), 2, nn.GroupNorm(6, 12)),
    (Norm("group", 7), 1, nn.GroupNorm(1, 7)),
    (Norm("group", 2), 1, nn.GroupNorm(1, 2)),
    (Norm("group", 1), 1, nn.GroupNorm(1, 1)),
    (Norm("group", 3), 1, nn.GroupNorm(1, 3)),
    (Norm("group", 64), 1, nn.GroupNorm(32, 64)),
    (Norm("group", 66), 1, nn.GroupNorm(22, 66)),
    (Norm("group", 128), 1, nn.GroupNorm(32, 128)),
    (Norm("layer", 6, "vector"), 1, nn.LayerNorm(6, eps=1e-6)),
    (Norm("layer", 6, "sequence"), 1, nn.LayerNorm(6, eps=1e-6)),
    (Activation("relu"), 1, nn.ReLU()),
    (Activation("silu"), 1, nn.SiLU()),
    (Activation("gelu"), 1, nn.GELU()),
    (MaxPool(), 1, nn.MaxPool2d(3, 2, 1)),
    (MaxPool(5, 3), 2, nn.MaxPool2d(5, 3, 2)),
    (AveragePool(2), 1, nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)),
]


@pytest.mark.parametrize(("layer", "replicates", "module"), TORCH)
def test_a_layer_is_this_module_of_torch(layer: Layer, replicates: int, module: nn.Module) -> None:
    built = layer.module(replicates)
    assert repr(built) == repr(module)
    if isinstance(built, nn.AvgPool2d):
        assert (built.ceil_mode, built.count_include_pad) == (True, False)


@pytest.mark.parametrize(("kind", "modality"), [("batch", "sequence"), ("group", "sequence"), ("layer", "image")])
def test_norms_of_moved_channels_normalise_the_channels(kind: str, modality: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, 4, 5) if modality == "image" else torch.randn(3, 4, 6)
    if kind == "layer":
        expected = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    elif kind == "batch":
        axes = (0, 1)
        expected = (x - x.mean(axes, keepdim=True)) / (x.var(axes, keepdim=True, unbiased=False) + 1e-5).sqrt()
    else:  # three groups of two channels, over all tokens
        expected = functional.group_norm(x.permute(0, 2, 1), 3).permute(0, 2, 1)
    torch.testing.assert_close(Norm(kind, 6, modality).module()(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["batch", "group", "layer"])
@pytest.mark.parametrize("modality", ["image", "vector", "sequence"])
def test_norms_of_replicates_are_those_of_each_alone(kind: str, modality: str) -> None:
    torch.manual_seed(0)
    shape = {"image": (4, 6, 2, 3), "vector": (4, 6), "sequence": (4, 5, 6)}[modality]
    axis = 1 if modality == "image" else -1
    parts = [torch.randn(shape), 5 * torch.randn(shape) + 1]
    alone = Norm(kind, 6, modality).module()
    expected = torch.cat([alone(part) for part in parts], axis)
    together = Norm(kind, 6, modality).module(2)(torch.cat(parts, axis))
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-5)


def test_a_norm_that_leaves_nothing_is_refused() -> None:
    for kind, modality in (("layer", "image"), ("layer", "vector"), ("layer", "sequence"), ("group", "vector")):
        with pytest.raises(ArchitectureError) as refused:
            norm_layers(kind, 1, modality)
        assert str(refused.value) == f"norm: '{kind}' has no meaning for one channel: nothing is left of it"
        assert norm_layers(kind, 2, modality) == (Norm(kind, 2, modality),)
    assert norm_layers("group", 1) == (Norm("group", 1, "image"),)
    assert norm_layers("batch", 1, "vector") == (Norm("batch", 1, "vector"),)
    assert norm_layers("none", 1) == norm_layers("none", 4, "vector") == ()


def test_channels_are_mixed_by_a_convolution_on_images_and_a_linear_layer_elsewhere() -> None:
    assert pointwise("image", 3, 4, stride=2, bias=True) == Conv(3, 4, 1, 2, 1, True)
    assert pointwise("image", 3, 4) == Conv(3, 4, 1, 1, 1, False)
    assert pointwise("vector", 3, 4) == Linear(3, 4, False)
    assert pointwise("sequence", 3, 4, bias=True) == Linear(3, 4, True)


def test_layers_in_turn_add_up() -> None:
    layers = (Conv(3, 8, 3, bias=True), Norm("batch", 8), MaxPool(), GlobalAveragePool(), Linear(8, 2))
    assert trace(layers, (3, 4, 4)) == (Cost(224 + 16 + 18, 224 * 16 + 18, 128 + 32 + 2, 48 + 128 + 8), (2,))
    assert trace((), (3, 4)) == (Cost(), (3, 4))


@pytest.mark.parametrize(
    ("layer", "shape", "said"),
    [
        (Conv(4, 8), (3, 4, 4), "a Conv of 4 channels is given 3"),
        (Linear(4, 8), (3,), "a Linear of 4 channels is given 3"),
        (Linear(4, 8), (4, 5), "a Linear of 4 channels is given 5"),
        (SubsampleAndPad(2, 8, 1), (3, 2, 2), "a SubsampleAndPad of 2 channels is given 3"),
    ],
)
def test_layers_of_other_channels_than_they_are_given_are_refused(layer: Layer, shape: Shape, said: str) -> None:
    with pytest.raises(ShapeError) as refused:
        trace((layer,), shape)
    assert str(refused.value) == said


@pytest.mark.parametrize("shape", [(3, 3, 4), (3, 4, 3)])
def test_an_input_smaller_than_the_window_is_refused(shape: Shape) -> None:
    with pytest.raises(ArchitectureError) as refused:
        Conv(3, 4, 4, 4, padding=0).trace(shape)
    assert str(refused.value) == "an input of side 3 is too small for a 4x4 window"
    assert Conv(3, 4, 4, 4, padding=0).trace((3, 4, 7))[1] == (4, 1, 1)


def test_an_average_over_the_last_windows_is_of_what_there_is() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert AveragePool(2).module()(x).tolist() == [[[[2.0, 3.5], [6.5, 8.0]]]]


def test_a_global_average_is_over_all_positions() -> None:
    image, sequence = torch.arange(12.0).view(1, 2, 2, 3), torch.arange(6.0).view(1, 3, 2)
    assert GlobalAveragePool().module()(image).tolist() == [[2.5, 8.5]]
    assert GlobalAveragePool("sequence").module()(sequence).tolist() == [[2.0, 3.0]]
    assert GlobalAveragePool("vector").module()(sequence[0]).tolist() == sequence[0].tolist()


def test_new_channels_are_zero_half_before_and_half_after_in_each_replicate() -> None:
    vector = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert SubsampleAndPad(4, 7, 1, "vector").module()(vector).tolist() == [[0, 1, 2, 3, 4, 0, 0]]
    assert SubsampleAndPad(2, 5, 1, "vector").module(2)(vector).tolist() == [[0, 1, 2, 0, 0, 0, 3, 4, 0, 0]]
    image = torch.arange(1.0, 13).view(1, 2, 2, 3)
    expected = [[[0, 0]], [[1, 3]], [[7, 9]], [[0, 0]], [[0, 0]]]
    assert SubsampleAndPad(2, 5, 2).module()(image).tolist() == [expected]
    two = SubsampleAndPad(1, 2, 2).module(2)(image).tolist()
    assert two == [[[[1, 3]], [[0, 0]], [[7, 9]], [[0, 0]]]]
    assert SubsampleAndPad(2, 3, 1, "sequence").module(2)(vector.view(1, 1, 4)).tolist() == [[[1, 2, 0, 3, 4, 0]]]


@pytest.mark.parametrize(("activation", "function"), [("relu", functional.relu), ("silu", functional.silu)])
def test_squeeze_excitation_is_its_formula(activation: str, function: object) -> None:
    torch.manual_seed(0)
    module = SqueezeExcite(4, 2, activation).module()
    x = torch.randn(3, 4, 5, 2)
    means = x.mean((2, 3))
    squeezed = function(means @ module.reduce.weight[:, :, 0, 0].T + module.reduce.bias)  # type: ignore[operator]
    gates = torch.sigmoid(squeezed @ module.expand.weight[:, :, 0, 0].T + module.expand.bias)
    torch.testing.assert_close(module(x), x * gates[:, :, None, None])
    assert repr(SqueezeExcite(4, 2).module(3).reduce) == repr(nn.Conv2d(12, 6, 1, groups=3))
    assert isinstance(SqueezeExcite(4, 2).module().activation, nn.ReLU)


def test_an_affine_layer_is_one_number_for_each_replicate() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    scale, bias = Affine("scale", 3.0).module(2), Affine("bias", 0.5).module(2)
    assert scale.value.tolist() == [3, 3]
    assert bias.value.tolist() == [0.5, 0.5]
    with torch.no_grad():
        scale.value.copy_(torch.tensor([2.0, 10.0]))
        bias.value.copy_(torch.tensor([2.0, 10.0]))
    assert scale(x).tolist() == [[2, 4, 30, 40]]
    assert bias(x).tolist() == [[3, 4, 13, 14]]
    assert scale(x.view(1, 4, 1, 1)).flatten().tolist() == [2, 4, 30, 40]


def test_dropout_layers_are_of_their_rate() -> None:
    module = Dropout(0.25).module(3)
    assert (module.rate, module.replicates) == (0.25, 3)
    assert str(module) == "DropoutModule(rate=0.25)"
