"""Weights in torchvision's and timm's ResNet layout, against a forward pass written with their keys alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ressearch import Architecture, build
from ressearch.errors import ArchitectureError, StudyError
from ressearch.export import Classifier, load, load_published, save, to_published, train

State = dict[str, Tensor]


def batch_norm(x: Tensor, state: State, name: str) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5)


def reference_resnet(state: State, x: Tensor, groups: int = 1) -> Tensor:
    """torchvision's ResNet.forward (and timm's resnet*d and seresnet*) as functions of a state dict."""
    if "conv1.weight" in state:
        x = functional.conv2d(x, state["conv1.weight"], stride=2, padding=3)
    else:
        x = functional.conv2d(x, state["conv1.0.weight"], stride=2, padding=1).contiguous()
        x = batch_norm(x, state, "conv1.1").relu()
        x = batch_norm(functional.conv2d(x, state["conv1.3.weight"], padding=1), state, "conv1.4").relu()
        x = functional.conv2d(x, state["conv1.6.weight"], padding=1)
    x = functional.max_pool2d(batch_norm(x, state, "bn1").relu(), 3, 2, 1)
    for layer in (1, 2, 3, 4):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in state:
            x = reference_block(state, x, f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1, groups)
            block += 1
    return functional.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def reference_block(state: State, x: Tensor, name: str, stride: int, groups: int) -> Tensor:
    is_bottleneck = f"{name}.conv3.weight" in state
    strides = (1, stride, 1) if is_bottleneck else (stride, 1)
    out = x
    for index, step in enumerate(strides, start=1):
        weight = state[f"{name}.conv{index}.weight"]
        out = functional.conv2d(
            out,
            weight,
            stride=step,
            padding=weight.shape[-1] // 2,
            groups=groups if is_bottleneck and index == 2 else 1,
        )
        out = batch_norm(out, state, f"{name}.bn{index}")
        out = out.relu() if index < len(strides) else out
    if f"{name}.se.fc1.weight" in state:
        pooled = out.mean((2, 3), keepdim=True)
        squeezed = functional.conv2d(pooled, state[f"{name}.se.fc1.weight"], state[f"{name}.se.fc1.bias"]).relu()
        out = out * functional.conv2d(squeezed, state[f"{name}.se.fc2.weight"], state[f"{name}.se.fc2.bias"]).sigmoid()
    if f"{name}.downsample.0.weight" in state:
        x = functional.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
        x = batch_norm(x, state, f"{name}.downsample.1")
    elif f"{name}.downsample.1.weight" in state:
        x = functional.avg_pool2d(x, 2, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else x
        x = batch_norm(functional.conv2d(x, state[f"{name}.downsample.1.weight"]), state, f"{name}.downsample.2")
    return (x + out).relu()


def randomise(network: nn.Module) -> None:
    """Give every weight and statistic a value of its own, so that no two can be swapped unseen."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "groups", "keys"),
    [
        ("resnet18-imagenet", 1, 122),
        ("resnet50-imagenet", 1, 320),
        ("resnet50-d-imagenet", 1, 332),
        ("resnext50-32x4d-imagenet", 32, 320),
        ("wide-resnet50-2-imagenet", 1, 320),
        ("se-resnet50-imagenet", 1, 384),
    ],
)
def test_published_layouts_load_and_give_the_reference_logits(name: str, groups: int, keys: int) -> None:
    torch.manual_seed(0)
    ours = build(Architecture.preset(name)).eval().double()
    randomise(ours)
    published = {key: value.clone() for key, value in to_published(ours).items()}
    assert len(published) == keys  # of torchvision's and timm's own state dicts
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = reference_resnet(published, x, groups)
        torch.testing.assert_close(ours(x), expected, rtol=1e-9, atol=1e-9)
        other = build(Architecture.preset(name)).eval().double()
        load_published(other, published)
        assert torch.equal(other(x), ours(x))


def test_resnet50_keys_are_torchvisions() -> None:
    state = to_published(build(Architecture.preset("resnet50-imagenet")))
    assert {"conv1.weight", "bn1.num_batches_tracked", "layer4.2.conv3.weight", "layer1.0.downsample.1.bias"} <= set(
        state
    )
    assert state["layer2.0.downsample.0.weight"].shape == (512, 256, 1, 1)
    assert state["fc.weight"].shape == (1000, 2048)


def test_wrong_state_dicts_are_refused_and_change_nothing() -> None:
    network = build(Architecture.preset("resnet18-imagenet"))
    good = {key: value.clone() for key, value in to_published(network).items()}
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ArchitectureError, match=r"'fc.bias' is missing \(121 keys, expected 122\)"):
        load_published(network, {key: value for key, value in good.items() if key != "fc.bias"})
    with pytest.raises(ArchitectureError, match=r"'layer1.0.conv1.wight' is unknown; did you mean"):
        load_published(network, {**good, "layer1.0.conv1.wight": good["fc.bias"]})
    with pytest.raises(ArchitectureError, match=r"'fc.bias' has shape \(5,\), expected \(1000,\)"):
        load_published(network, {**good, "fc.bias": torch.zeros(5)})
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    with pytest.raises(ArchitectureError, match="skip: 'rezero' is in no published ResNet"):
        to_published(build(Architecture.preset("resnet18-imagenet").replace(skip="rezero")))


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_saved_classifier_gives_the_same_logits(tmp_path: Path, suffix: str) -> None:
    for name, shape in (
        ("basic-d1.1-w4.8", (3, 16, 16)),
        ("mlp-d2-w16", (30,)),
        ("transformer-d2-w16", (8, 4)),
        ("basic-d1.1-w4.8+skip=stochastic_depth", (1, 8, 8)),
    ):
        network = build(Architecture.from_name(name), shape[0] if len(shape) != 2 else shape[1], 3)
        axis = (1, 1) if len(shape) == 3 else ()
        channels = shape[0] if len(shape) == 3 else shape[-1]
        classifier = Classifier(
            network, torch.rand(channels, *axis), 1 + torch.rand(channels, *axis), ("a", "b", "c"), shape
        ).eval()
        file = tmp_path / f"net{suffix}"
        save(classifier, file)
        again = load(file) if suffix == ".pt" else torch.export.load(file).module()
        for batch in (1, 5):
            inputs = 255 * torch.rand(batch, *shape)
            assert torch.allclose(again(inputs), classifier(inputs), atol=1e-5)


def test_a_studys_network_is_trained_again_and_written(small_run: Path, tmp_path: Path) -> None:
    classifier, accuracy = train(small_run, 3)
    assert 0.1 < accuracy <= 1
    save(classifier, tmp_path / "net.pt")
    again = load(tmp_path / "net.pt")
    assert again.classes == tuple("0123456789")
    assert again.network.architecture == classifier.network.architecture
    with pytest.raises(StudyError, match="has no trial 9; its trials are 0 to 3"):
        train(small_run, 9)
    with pytest.raises(ArchitectureError, match=r"no format '.pth'; did you mean '.pt'"):
        save(classifier, tmp_path / "net.pth")
    (tmp_path / "net.pt").write_bytes(b"other")
    with pytest.raises(ArchitectureError, match="no network that ressearch saved"):
        load(tmp_path / "net.pt")
