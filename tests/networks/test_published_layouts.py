"""Published layouts, against what timm's and torchvision's models were found to hold and to compute."""

from __future__ import annotations

from typing import Any

import published_layouts
import pytest
import torch
from published_layouts import made_state

from ressearch import Architecture, build, presets
from ressearch.errors import ArchitectureError
from ressearch.networks.layouts import FAMILIES, family_of
from ressearch.networks.module import ResidualNetwork
from ressearch.networks.plan import plan
from ressearch.networks.published import load_published, published_keys, to_published

HOUSES: dict[str, dict[str, Any]] = {house: made["models"] for house, made in published_layouts.read().items()}
MODELS = [(house, preset) for house, models in HOUSES.items() for preset in models]


def empty(name: str) -> ResidualNetwork:
    with torch.device("meta"):
        architecture = Architecture.preset(name)
        return ResidualNetwork(architecture, plan(architecture))


@pytest.mark.parametrize(("house", "name"), MODELS)
def test_keys_and_shapes_are_the_published_models(house: str, name: str) -> None:
    found = {key: list(value.shape) for key, value in to_published(empty(name), house).items()}
    assert found == HOUSES[house][name]["shapes"]


@pytest.mark.parametrize(("house", "name"), [(h, n) for h, n in MODELS if "logits" in HOUSES[h][n]])
def test_loaded_weights_compute_what_the_published_model_does(house: str, name: str) -> None:
    model = HOUSES[house][name]
    state = made_state(model["shapes"])
    network = build(Architecture.preset(name)).double()
    load_published(network, state)
    assert all(torch.equal(value, state[key]) for key, value in to_published(network, house).items())
    found = published_layouts.logits(network)
    for mode in ("eval", "train"):
        torch.testing.assert_close(torch.tensor(found[mode]), torch.tensor(model["logits"][mode]), rtol=1e-9, atol=1e-9)


def test_every_imagenet_preset_is_published_but_one_that_timm_no_longer_has() -> None:
    imagenet = {name for name in presets() if name.endswith("-imagenet")}
    assert imagenet - set(HOUSES["timm"]) == {"resnext152-32x4d-imagenet"}


@pytest.mark.parametrize("name", [name for name in presets() if name.endswith("-cifar")])
def test_networks_on_cifar_are_nobodys(name: str) -> None:
    with pytest.raises(
        ArchitectureError, match=r"stem: 'cifar' is in no published (ResNet|DenseNet); .* have imagenet"
    ):
        family_of(Architecture.preset(name))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("resnet50-imagenet", {"activation": "silu"}, "activation: 'silu' is in no published ResNet"),
        (
            "resnet50-imagenet",
            {"skip": "none"},
            "skip: 'none' is in no published ResNet; their state",
        ),
        ("resnet50-imagenet", {"norm_order": "pre"}, "norm_order: 'pre' is in no published ResNet"),
        ("se-resnet50-imagenet", {"se_position": "inner"}, "se_position: 'inner' is in no published ResNet"),
        ("regnety-400mf-imagenet", {"se_position": "outer"}, "se_position: 'outer' is in no published RegNet"),
        ("convnext-tiny-imagenet", {"se_ratio": 0.25}, "se_ratio: '0.25' is in no published ConvNeXt"),
        ("efficientnet-b0-imagenet", {"shortcut": "projection"}, "'projection' is in no published EfficientNet"),
    ],
)
def test_what_would_compute_something_else_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchitectureError) as refused:
        family_of(Architecture.preset(name).replace(**changes))
    assert message in str(refused.value)


def test_blocks_that_nobody_publishes_are_refused() -> None:
    with pytest.raises(ArchitectureError, match="block: 'fused_inverted' is in no published network; known: basic, "):
        family_of(Architecture("fused_inverted", depths=(1,), widths=(8,)))


def test_a_layout_that_the_family_lacks_is_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"layout: 'torchvison' is unknown; did you mean 'torchvision'\?"):
        published_keys(empty("regnetx-200mf-imagenet"), "torchvison")


def _small() -> ResidualNetwork:
    return build(Architecture(depths=(1, 1), widths=(4, 8), stem="imagenet"), num_classes=3)


def test_older_files_may_lack_the_counts_of_batches_and_nothing_else() -> None:
    state = {key: value + 1 for key, value in to_published(_small()).items() if not key.endswith("num_batches_tracked")}
    network = _small()
    load_published(network, state)
    assert torch.equal(to_published(network)["fc.weight"], state["fc.weight"])
    with pytest.raises(ArchitectureError, match=r"'bn1.running_mean' is missing"):
        load_published(network, {key: value for key, value in state.items() if key != "bn1.running_mean"})


def test_a_network_without_a_classifier_leaves_the_files_out() -> None:
    whole, headless = _small(), build(Architecture(depths=(1, 1), widths=(4, 8), stem="imagenet"), num_classes=0)
    load_published(headless, to_published(whole))
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(headless.eval()(x), whole.eval().forward_head(whole.forward_features(x), pre_logits=True))
    assert "fc.weight" not in to_published(headless)


def test_every_family_has_timms_layout() -> None:
    assert all("timm" in [house for layout in family.layouts for house in layout.houses] for family in FAMILIES)
