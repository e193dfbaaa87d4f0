"""The presets in timm's registry: timm's own where it can be imported, a stand-in with its rules elsewhere."""

from __future__ import annotations

import keyword
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import ressearch.timm
from ressearch import Architecture, presets
from ressearch.errors import ArchitectureError, RessearchError

Create = Callable[..., Any]


@pytest.fixture
def create(monkeypatch: pytest.MonkeyPatch) -> Create:
    """timm.create_model, of a registry that follows timm/models/_registry.py and _factory.py (timm 1.0)."""
    entries: dict[str, Callable[..., Any]] = {}

    def register_model(fn: Callable[..., Any]) -> Callable[..., Any]:
        module = sys.modules[fn.__module__]
        assert fn.__name__ not in entries, "timm warns when a name is registered again"
        module.__dict__.setdefault("__all__", []).append(fn.__name__)
        entries[fn.__name__] = fn
        return fn

    def create_model(name: str, pretrained: bool = False, **options: Any) -> Any:
        assert "/" not in name, "timm takes it for a repository of a hub"
        given = {key: value for key, value in options.items() if value is not None}
        none = {"pretrained_cfg": None, "pretrained_cfg_overlay": None, "cache_dir": None}
        return entries[name](pretrained=pretrained, **none, **given)

    models = types.ModuleType("timm.models")
    vars(models).update(register_model=register_model, is_model=entries.__contains__)
    package = types.ModuleType("timm")
    vars(package).update(models=models)
    monkeypatch.setitem(sys.modules, "timm", package)
    monkeypatch.setitem(sys.modules, "timm.models", models)
    return create_model


@pytest.fixture(params=["stand-in", "timm"])
def create_anywhere(request: pytest.FixtureRequest) -> Create:
    if request.param == "stand-in":
        return request.getfixturevalue("create")  # type: ignore[no-any-return]
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # torchvision's operators may be those of another torch
        pytest.skip(f"timm cannot be imported: {error}")
    return timm.create_model  # type: ignore[no-any-return]


def test_every_preset_has_a_name_that_timm_and_python_take(create: Create) -> None:
    names = ressearch.timm.register()
    assert len(names) == len(set(names)) == len(presets()) + 1
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    assert {"ressearch", "ressearch_resnet56_cifar", "ressearch_regnetx_1_6gf_imagenet"} <= set(names)
    assert ressearch.timm.register() == names  # nothing is registered twice
    assert ressearch.timm.__all__ == ["register"]


def test_models_are_built_as_timms_are(create_anywhere: Create) -> None:
    ressearch.timm.register()
    network = create_anywhere("ressearch_resnet20_cifar", num_classes=7, in_chans=1, drop_rate=0.0, global_pool="avg")
    assert network(torch.randn(2, 1, 32, 32)).shape == (2, 7)
    assert network.architecture == Architecture.preset("resnet20-cifar")
    assert network.default_cfg == network.pretrained_cfg
    assert network.default_cfg["input_size"] == (1, 32, 32)
    assert network.default_cfg["num_classes"] == 7
    assert create_anywhere("ressearch_resnet20_cifar", num_classes=0)(torch.randn(2, 3, 32, 32)).shape == (2, 64)
    assert create_anywhere("ressearch_resnet20_cifar").get_classifier().out_features == 10


def test_models_are_backbones(create_anywhere: Create) -> None:
    ressearch.timm.register()
    backbone = create_anywhere("ressearch_resnet20_cifar", features_only=True, out_indices=(0, -1))
    assert backbone.feature_info.channels() == [16, 64]
    assert [one.shape[1] for one in backbone(torch.randn(1, 3, 16, 16))] == [16, 64]


def test_any_architecture_is_a_model(create: Create) -> None:
    ressearch.timm.register()
    wanted = Architecture(depths=(1, 2), widths=(4, 8), skip="none")
    for given in (wanted, wanted.name):
        network: nn.Module = create("ressearch", architecture=given)
        assert network.architecture == wanted
    for wrong in (None, 5):
        with pytest.raises(ArchitectureError, match="neither an Architecture nor a network's name"):
            create("ressearch", architecture=wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": True}, "ressearch publishes no weights"),
        ({"drop_rate": 0.2}, "drop_rate: 0.2"),
        ({"global_pool": "max"}, "global_pool: 'max'"),
        ({"in_chan": 1}, "'in_chan' is no option of these networks; did you mean 'in_chans'?"),
        ({"architecture": "resnet20-cifar"}, "'architecture' is no option"),
    ],
)
def test_options_without_a_meaning_are_refused(create: Create, options: dict[str, Any], message: str) -> None:
    ressearch.timm.register()
    with pytest.raises(ArchitectureError) as refused:
        create("ressearch_resnet20_cifar", **options)
    assert str(refused.value).startswith("ressearch_resnet20_cifar: ")
    assert message in str(refused.value)


def test_without_timm_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "timm.models", None)
    with pytest.raises(RessearchError, match="pip install timm"):
        ressearch.timm.register()
