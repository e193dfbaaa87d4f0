"""Weights to start from: files, layouts, other classes and channels, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from ressearch import Architecture, build
from ressearch.errors import ArchitectureError
from ressearch.export import Classifier, save, to_published
from ressearch.networks.build import build_replicates
from ressearch.networks.module import ResidualNetwork
from ressearch.networks.pretrained import load_weights, read_weights
from ressearch.networks.replicated import replicate_state

SMALL = Architecture(depths=(1, 1), widths=(4, 8), stem="imagenet")


def network(classes: int = 5, channels: int = 3, architecture: Architecture = SMALL) -> ResidualNetwork:
    return build(architecture, channels, classes)


def written(path: Path, state: dict[str, Tensor]) -> Path:
    kept = {key: value.clone() for key, value in state.items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(kept, path)
    else:
        torch.save(kept, path)
    return path


def same(one: ResidualNetwork, other: ResidualNetwork, but: tuple[str, ...] = ()) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
    return all(torch.equal(value, like) for (key, value), like in pairs if not key.startswith(but or ("-",)))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth"])
@pytest.mark.parametrize("layout", ["ours", "published"])
def test_files_of_either_kind_and_layout_are_read(tmp_path: Path, name: str, layout: str) -> None:
    trained, fresh = network(), network()
    file = written(tmp_path / name, trained.state_dict() if layout == "ours" else to_published(trained))
    weights = read_weights(file)
    assert weights.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert load_weights(fresh, weights) == []
    assert same(fresh, trained)


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_state_dicts_within_checkpoints_and_of_parallel_networks_are_read(tmp_path: Path, wrapper: str) -> None:
    trained, fresh = network(), network()
    inner = {f"module.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"epoch": 3, wrapper: inner}, tmp_path / "w.pt")
    load_weights(fresh, read_weights(tmp_path / "w.pt"))
    assert same(fresh, trained)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_exported_networks_are_read_and_say_which_network_they_are(tmp_path: Path, suffix: str) -> None:
    trained, fresh = network(), network(classes=2)
    classes = [str(at) for at in range(5)]
    save(
        Classifier(trained.eval(), torch.zeros(3, 1, 1), torch.ones(3, 1, 1), classes, (3, 16, 16)),
        tmp_path / f"n{suffix}",
    )
    weights = read_weights(tmp_path / f"n{suffix}")
    assert weights.architecture == SMALL
    assert load_weights(fresh, weights) == ["new classifier of 2 classes (the file's has 5)"]
    assert same(fresh, trained, but=("head.",))
    with pytest.raises(ArchitectureError, match=r"holds the weights of basic-.*, and the network is .*activation=silu"):
        load_weights(network(architecture=SMALL.replace(activation="silu")), weights)


def test_another_number_of_classes_keeps_the_fresh_classifier(tmp_path: Path) -> None:
    weights = read_weights(written(tmp_path / "w.pt", to_published(network(classes=5))))
    fresh = network(classes=3)
    before = fresh.classifier.weight.clone()
    assert load_weights(fresh, weights) == ["new classifier of 3 classes (the file's has 5)"]
    assert torch.equal(fresh.classifier.weight, before)


def test_one_input_channel_sees_the_sum_over_rgb(tmp_path: Path) -> None:
    trained = network().eval()
    grey = network(channels=1).eval()
    notes = load_weights(grey, read_weights(written(tmp_path / "w.pt", to_published(trained))))
    assert notes == ["first convolution adapted to 1 input channels"]
    x = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(grey(x), trained(x.expand(-1, 3, -1, -1)))


def test_more_channels_repeat_rgb_and_keep_the_sum(tmp_path: Path) -> None:
    trained, wide = network(), network(channels=7)
    load_weights(wide, read_weights(written(tmp_path / "w.pt", to_published(trained))))
    rgb, many = trained.stem[0].weight, wide.stem[0].weight
    assert isinstance(rgb, Tensor)
    assert isinstance(many, Tensor)
    for channel in range(7):
        torch.testing.assert_close(many[:, channel], rgb[:, channel % 3] * 3 / 7)


def test_convolutions_kept_as_matrices_fit(tmp_path: Path) -> None:
    architecture = Architecture("convnext", depths=(1, 1), widths=(4, 8), skip="layerscale", stem="patch")
    trained, fresh = network(architecture=architecture), network(architecture=architecture)
    for layout in ("timm", "torchvision"):
        load_weights(fresh, read_weights(written(tmp_path / "w.pt", to_published(trained, layout))))
        assert same(fresh, trained)


def test_a_network_without_a_classifier_leaves_the_files_out(tmp_path: Path) -> None:
    trained, headless = network(), network(classes=0)
    for state in (trained.state_dict(), to_published(trained)):
        load_weights(headless, read_weights(written(tmp_path / "w.pt", state)))
        x = torch.randn(2, 3, 16, 16)
        pooled = trained.eval().forward_head(trained.forward_features(x), pre_logits=True)
        assert torch.equal(headless.eval()(x), pooled)


def test_replicates_start_from_the_weights_and_keep_classifiers_of_their_own(tmp_path: Path) -> None:
    trained = network(classes=5)
    weights = read_weights(written(tmp_path / "w.pt", trained.state_dict()))
    grouped = build_replicates(SMALL, (3, 4), 3, 2, prepare=lambda alone: load_weights(alone, weights))
    states = []
    for index, seed in enumerate((3, 4)):
        torch.manual_seed(seed)
        alone = network(classes=2)
        found = replicate_state(grouped, index, alone)
        assert torch.equal(found["head.1.weight"], alone.classifier.weight)
        states.append({key: value for key, value in found.items() if not key.startswith("head.")})
    assert all(torch.equal(value, trained.state_dict()[key]) for state in states for key, value in state.items())


def changed(**changes: Any) -> dict[str, Tensor]:
    state = to_published(network())
    return {key: value for key, value in {**state, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(**{"bn1.bias": None}), "'bn1.bias' is missing (37 keys)"),
        (changed(**{"bn2.bias": torch.zeros(3)}), "'bn2.bias' is no key of the network; did you mean 'bn1.bias'?"),
        (changed(**{"bn1.bias": torch.zeros(3)}), "'bn1.bias' has shape (3,), expected (4,)"),
        (
            changed(**{"conv1.weight": torch.zeros(4, 4, 7, 7)}),
            "'conv1.weight' takes 4 input channels, the data have 3",
        ),
        (changed(**{"fc.weight": torch.zeros(5, 9)}), "'fc.weight' has shape (5, 9), expected (5, 8)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_loaded(
    tmp_path: Path, state: dict[str, Tensor], message: str
) -> None:
    fresh = network()
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    file = written(tmp_path / "w.pt", state)
    with pytest.raises(ArchitectureError) as refused:
        load_weights(fresh, read_weights(file))
    assert str(refused.value).startswith(f"{file}: ")
    assert message in str(refused.value)
    assert all(torch.equal(value, before[key]) for key, value in fresh.state_dict().items())


def test_published_weights_are_not_for_networks_without_skips(tmp_path: Path) -> None:
    file = written(tmp_path / "w.pt", to_published(network()))
    with pytest.raises(ArchitectureError, match="skip: 'none' is in no published ResNet"):
        load_weights(network(architecture=SMALL.replace(skip="none")), read_weights(file))


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match=r"w\.onnx: no file of weights; expected one of \.safetensors, "):
        read_weights(tmp_path / "w.onnx")
    with pytest.raises(ArchitectureError, match=r"absent\.pt: cannot be read: no such file"):
        read_weights(tmp_path / "absent.pt")
    for name in ("w.pt", "w.safetensors"):
        list_as_header, deep = b"\x02" + bytes(7) + b"[]", (99_999).to_bytes(8, "little") + b"[" * 99_999
        for content in (b"", b"neither", b"\x08\0\0\0\0\0\0\0nonsense", list_as_header, deep):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(ArchitectureError, match="holds no weights that can be read"):
                read_weights(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ArchitectureError, match="holds no tensors"):
        read_weights(tmp_path / "w.pt")
    torch.save([1], tmp_path / "w.pt")
    with pytest.raises(ArchitectureError, match="holds no weights that can be read"):
        read_weights(tmp_path / "w.pt")
