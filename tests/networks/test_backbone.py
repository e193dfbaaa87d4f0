"""A network as a backbone: feature maps and pooled features, against timm's figures and the network itself."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from ressearch import Architecture, build, cost
from ressearch.errors import ArchitectureError
from ressearch.networks.backbone import Backbone
from ressearch.networks.blocks import BLOCKS
from ressearch.networks.build import build_replicates
from ressearch.networks.cost import breakdown
from ressearch.networks.skips import SKIPS

# timm 1.0: timm.create_model(name, features_only=True).feature_info.channels(), .reduction()
TIMM = {
    "resnet18-imagenet": ([64, 64, 128, 256, 512], [2, 4, 8, 16, 32]),
    "resnet50-imagenet": ([64, 256, 512, 1024, 2048], [2, 4, 8, 16, 32]),
    "resnet50-d-imagenet": ([64, 256, 512, 1024, 2048], [2, 4, 8, 16, 32]),
    "regnety-800mf-imagenet": ([32, 64, 128, 320, 768], [2, 4, 8, 16, 32]),
    "densenet121-imagenet": ([64, 256, 512, 1024, 1024], [2, 4, 8, 16, 32]),
    "convnext-tiny-imagenet": ([96, 192, 384, 768], [4, 8, 16, 32]),
    "efficientnet-b0-imagenet": ([16, 24, 40, 112, 320], [2, 4, 8, 16, 32]),
}

SMALL = Architecture(depths=(1, 1, 1), widths=(4, 8, 16))


@pytest.mark.parametrize("name", TIMM)
def test_maps_are_those_that_timm_lists(name: str) -> None:
    with torch.device("meta"):
        backbone = build(Architecture.preset(name), features_only=True)
        maps = backbone(torch.empty(2, 3, 64, 96))
    info = backbone.feature_info
    channels, reductions = TIMM[name]
    assert (info.channels(), info.reduction()) == (channels, reductions)
    assert [tuple(one.shape) for one in maps] == [(2, c, 64 // r, 96 // r) for c, r in zip(*TIMM[name], strict=True)]


def test_cifar_networks_have_one_map_per_stage() -> None:
    info = build(Architecture.preset("resnet20-cifar"), features_only=True).feature_info
    assert (info.channels(), info.reduction()) == ([16, 32, 64], [1, 2, 4])
    assert info.module_name() == ["stages.0", "stages.1", "stages.2"]


def test_feature_info_answers_as_timms_does() -> None:
    info = build(Architecture.preset("resnet50-imagenet"), features_only=True, out_indices=(1, -1)).feature_info
    assert (info.channels(), info.reduction()) == ([256, 2048], [4, 32])
    assert info.out_indices == (1, 4)
    assert len(info) == 5
    assert info[0] == {"num_chs": 64, "reduction": 2, "module": "stem.2", "index": 0}
    assert info.channels(2) == 512
    assert info.channels((0, 2)) == [64, 512]
    assert info.get_dicts(["reduction"]) == [{"reduction": 4}, {"reduction": 32}]
    assert [one["num_chs"] for one in info.get_dicts(index=(0,))] == [64]


def test_maps_come_in_the_order_asked_for_and_what_is_deeper_is_left_out() -> None:
    backbone = build(SMALL, features_only=True, out_indices=(1, 0))
    assert [one.shape[1] for one in backbone(torch.randn(1, 3, 8, 8))] == [8, 4]
    assert len(backbone.stages) == 2
    stem_alone = build(SMALL.replace(stem="imagenet"), features_only=True, out_indices=[0])
    assert len(stem_alone.stem) == 3
    assert len(stem_alone.stages) == 0


def test_maps_are_the_networks_own_and_nothing_later_writes_over_them() -> None:
    network = build(SMALL.replace(stem="imagenet"))
    kept: dict[str, torch.Tensor] = {}
    for name in ("stem.2", "stages.0", "stages.1", "stages.2"):
        network.get_submodule(name).register_forward_hook(
            lambda module, given, out, name=name: kept.__setitem__(name, out.clone())
        )
    x = torch.randn(2, 3, 64, 64)
    network.eval()(x)
    expected = list(kept.values())
    for got, one in zip(Backbone(network)(x), expected, strict=True):
        assert torch.equal(got, one)


def test_its_weights_are_the_networks_under_the_same_names() -> None:
    network = build(SMALL)
    other = build(SMALL, features_only=True)
    result = other.load_state_dict(network.state_dict(), strict=False)
    assert result.missing_keys == []
    assert all(key.startswith("head.") for key in result.unexpected_keys)
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(other.eval()(x)[-1], Backbone(network).eval()(x)[-1])


def _fitting(block: str, skip: str) -> Architecture | None:
    fields = {"norm": "none"} if skip == "fixup" else {}
    widths = {} if skip == "dense" else {"widths": (4, 4)}
    try:
        return Architecture(block, (1, 1), skip=skip, **widths, **fields)  # type: ignore[arg-type]
    except ArchitectureError:
        return None


EVERY = sorted({*itertools.product(BLOCKS, ["identity"]), *itertools.product(["basic", "single", "mlp"], SKIPS)})


@pytest.mark.parametrize(("block", "skip"), EVERY)
def test_every_block_and_skip_has_maps_or_says_that_it_has_none(block: str, skip: str) -> None:
    if (architecture := _fitting(block, skip)) is None:
        return
    if architecture.modality == "image":
        backbone = build(architecture, features_only=True).eval()
        before = [one.clone() for one in backbone(torch.ones(1, 3, 8, 8))]
        channels, reductions = backbone.feature_info.channels(), backbone.feature_info.reduction()
        assert [(one.shape[1], 8 // one.shape[2]) for one in before] == list(zip(channels, reductions, strict=True))
        shape: tuple[int, ...] = (3, 8, 8)
    else:
        with pytest.raises(ArchitectureError, match=f"{block}' works on {architecture.modality}s.*num_classes=0"):
            build(architecture, features_only=True)
        shape = (3,) if architecture.modality == "vector" else (5, 3)
    headless = build(architecture, num_classes=0).eval()
    x = torch.ones(2, *shape)
    assert headless(x).shape == (2, headless.num_features)
    assert torch.equal(headless.forward_head(headless.forward_features(x)), headless(x))
    assert cost(architecture, shape, 0).params == sum(one.numel() for one in headless.parameters())
    with_head = build(architecture, num_classes=7).eval()
    assert torch.equal(with_head.forward_head(with_head.forward_features(x)), with_head(x))
    assert with_head.forward_head(with_head.forward_features(x), pre_logits=True).shape == (2, with_head.num_features)


@pytest.mark.parametrize(
    ("name", "features"),
    [("resnet50-imagenet", 2048), ("efficientnet-b0-imagenet", 1280), ("convnext-tiny-imagenet", 768)],
)
def test_a_headless_network_costs_its_classifier_less(name: str, features: int) -> None:
    architecture = Architecture.preset(name)
    whole, headless = cost(architecture, (3, 64, 64)), cost(architecture, (3, 64, 64), num_classes=0)
    classifier = features * 1000 + 1000
    assert (whole.params - headless.params, whole.macs - headless.macs) == (classifier, classifier)
    assert whole.activations - headless.activations == 1000
    assert "classifier" not in breakdown(architecture, (3, 64, 64), 0)[-1].part
    assert "classifier" in breakdown(architecture, (3, 64, 64))[-1].part


def test_without_a_classifier_the_other_weights_have_the_same_names() -> None:
    whole, headless = build(SMALL), build(SMALL, num_classes=0)
    result = headless.load_state_dict(whole.state_dict(), strict=False)
    assert (result.missing_keys, result.unexpected_keys) == ([], ["head.1.weight", "head.1.bias"])
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(headless(x), whole.forward_head(whole.forward_features(x), pre_logits=True))
    assert isinstance(headless.get_classifier(), nn.Identity)
    with pytest.raises(ArchitectureError, match="no classifier"):
        _ = headless.classifier


def test_a_classifier_is_put_anew_or_taken_away() -> None:
    network = build(SMALL, num_classes=3).double()
    features = network.forward_features(torch.randn(2, 3, 8, 8).double())
    pooled = network.forward_head(features, pre_logits=True)
    network.reset_classifier(5)
    assert network.num_classes == 5
    assert network.get_classifier() is network.classifier
    assert torch.equal(network.forward_head(features), network.classifier(pooled))
    assert network.forward_head(features).shape == (2, 5)
    network.reset_classifier(0)
    assert torch.equal(network.forward_head(features), pooled)
    network.reset_classifier(2)
    assert network.forward_head(features).shape == (2, 2)


@pytest.mark.parametrize("wrong", [(3,), (-4,), (), ("stages.0",), 2, (True,)])
def test_indices_of_no_map_are_refused(wrong: object) -> None:
    with pytest.raises(ArchitectureError, match=r"out_indices: .* the network has 3: 0 to 2, or -3 to -1"):
        build(SMALL, features_only=True, out_indices=wrong)  # type: ignore[arg-type]


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="features_only=True"):
        build(SMALL, out_indices=(1,))  # type: ignore[call-overload]
    for wrong in (-1, 2.0, True):
        with pytest.raises(ArchitectureError, match=r"num_classes: .* whole number"):
            build(SMALL, num_classes=wrong)  # type: ignore[arg-type]
        with pytest.raises(ArchitectureError, match=r"num_classes: .* whole number"):
            build(SMALL).reset_classifier(wrong)  # type: ignore[arg-type]
    grouped = build_replicates(SMALL, (0, 1))
    with pytest.raises(ArchitectureError, match="2 replicates"):
        Backbone(grouped)
    with pytest.raises(ArchitectureError, match="2 replicates"):
        grouped.reset_classifier(4)


def test_the_pages_examples_give_what_their_comments_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "backbone.md").read_text()
    first, *others = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, object] = {}
    exec(first, names)
    shown = re.findall(r"^(backbone\..*?)\s+# (.*)$", first, re.MULTILINE)
    assert len(shown) == 2
    assert all(eval(call, names) == ast.literal_eval(said) for call, said in shown)
    exec(next(block for block in others if "load_published" in block), names)
