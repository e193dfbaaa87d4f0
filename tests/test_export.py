"""Weights in torchvision's and timm's ResNet layout, against a forward pass written with their keys alone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ressearch import Architecture, build, export
from ressearch.cli import main
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


def read(file: Path) -> Callable[[Tensor], Tensor]:
    if file.suffix == ".onnx":
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return lambda inputs: torch.from_numpy(session.run(["logits"], {"inputs": inputs.numpy()})[0])
    return load(file) if file.suffix in (".pt", ".safetensors") else torch.export.load(file).module()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".pt2", ".onnx"])
def test_a_saved_classifier_gives_the_same_logits(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
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
            network, 100 * torch.rand(channels, *axis), 50 + torch.rand(channels, *axis), ("a", "b", "c"), shape, dtype
        ).eval()
        file = tmp_path / f"net{suffix}"
        save(classifier, file)
        again = read(file)
        for batch in (1, 5):
            inputs = (255 * torch.rand(batch, *shape)).to(dtype)
            torch.testing.assert_close(again(inputs), classifier(inputs), atol=1e-4, rtol=1e-4)
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


def test_a_program_takes_pixels_in_a_process_that_has_torch_alone(tmp_path: Path) -> None:
    network = build(Architecture.from_name("basic-d1.1-w4.8"), 1, 3)
    classifier = Classifier(network, torch.tensor([[[9.0]]]), torch.tensor([[[3.0]]]), "abc", (1, 8, 8), torch.uint8)
    save(classifier, tmp_path / "net.pt2")
    pixels = torch.arange(3 * 64, dtype=torch.uint8).reshape(3, 1, 8, 8)
    program = (
        "import sys, torch\n"
        "sys.modules['ressearch'] = None\n"  # importing it would raise
        "classify = torch.export.load('net.pt2').module()\n"
        "pixels = torch.arange(3 * 64, dtype=torch.uint8).reshape(3, 1, 8, 8)\n"
        "print(classify(pixels).tolist())\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    with torch.no_grad():
        torch.testing.assert_close(
            torch.tensor(json.loads(done.stdout)), classifier.eval()(pixels), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    network = build(Architecture.from_name("basic-d1.1-w4.8"), 1, 3)
    classifier = Classifier(network, torch.zeros(1, 1, 1), torch.ones(1, 1, 1), "abc", (1, 8, 8))
    file = tmp_path / f"net{suffix}"
    file.write_text("the former file")

    def dies(classifier: Classifier, part: Path) -> None:
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(export._WRITERS, suffix, dies)
    with pytest.raises(KeyboardInterrupt):
        save(classifier, file)
    assert file.read_text() == "the former file"
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


def test_a_missing_package_is_named_before_anything_is_trained(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else found(name))
    monkeypatch.setattr(export, "train", lambda *arguments: pytest.fail("it trained"))
    with pytest.raises(SystemExit) as done:
        main(["export", str(small_run), "--out", str(tmp_path / "net.onnx")])
    assert done.value.code == 2
    assert "net.onnx: .onnx needs onnx and onnxscript, not installed here: pip install onnx" in capsys.readouterr().err


def test_a_studys_network_is_trained_again_and_written(small_run: Path, tmp_path: Path) -> None:
    classifier, accuracy = train(small_run, 3)
    assert 0.1 < accuracy <= 1
    save(classifier, tmp_path / "net.pt")
    again = load(tmp_path / "net.pt")
    assert again.classes == tuple("0123456789")
    assert again.input_dtype == classifier.input_dtype
    assert again.network.architecture == classifier.network.architecture
    with pytest.raises(StudyError, match="has no trial 9; its trials are 0 to 3"):
        train(small_run, 9)
    with pytest.raises(ArchitectureError, match=r"no format '.pth'; did you mean '.pt'"):
        save(classifier, tmp_path / "net.pth")
    (tmp_path / "net.pt").write_bytes(b"other")
    with pytest.raises(ArchitectureError, match="no network that ressearch saved"):
        load(tmp_path / "net.pt")
