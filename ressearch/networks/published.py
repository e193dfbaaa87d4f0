"""Weights in the layout of torchvision and timm: `to_published` writes a network's state under their keys,
`load_published` reads it. The mapping (torchvision's ``resnet.py``; timm's where
torchvision has none):

==========================  ==================================================================================
ressearch                   published
==========================  ==================================================================================
``stem.0``, ``stem.1``      ``conv1``, ``bn1``
``stem.0 … 7`` (deep)       ``conv1.0``, ``conv1.1``, ``conv1.3``, ``conv1.4``, ``conv1.6``, ``bn1`` (timm, ResNet-D)
``stages.S.B.branch``       ``layer{S+1}.B``: its convolutions ``conv1``, ``conv2``, …, its norms ``bn1``, ``bn2``, …
squeeze-excitation          ``se.fc1``, ``se.fc2`` (timm)
``stages.S.B.shortcut``     ``layer{S+1}.B.downsample``: convolution ``0``, norm ``1``; after an average pool 1 and 2
``head.1``                  ``fc``
==========================  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ressearch.errors import ArchitectureError, nearest
from ressearch.networks.architecture import Architecture
from ressearch.networks.layers import SqueezeExciteModule
from ressearch.networks.module import ResidualNetwork, ResidualUnit

_STEMS = {"imagenet": ("conv1", "bn1"), "deep": ("conv1.0", "conv1.1", "conv1.3", "conv1.4", "conv1.6", "bn1")}


def published_keys(network: ResidualNetwork) -> dict[str, str]:
    """Return the published key of each key of the network's state dict.

    Raises ArchitectureError if the network is none of the published ResNets' kind: basic or bottleneck blocks in
    post order, batch norm, identity skips, the `imagenet` or `deep` stem.
    """
    _require_resnet(network.architecture)
    names: dict[nn.Module, str] = {}
    stem = [module for module in network.stem if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    names.update(zip(stem, _STEMS[network.architecture.stem], strict=True))
    for stage, units in enumerate(network.stages, start=1):
        for index, unit in enumerate(units.children()):
            assert isinstance(unit, ResidualUnit)
            prefix = f"layer{stage}.{index}"
            convs = norms = 0
            for module in unit.branch:
                if isinstance(module, nn.Conv2d):
                    convs += 1
                    names[module] = f"{prefix}.conv{convs}"
                elif isinstance(module, nn.BatchNorm2d):
                    norms += 1
                    names[module] = f"{prefix}.bn{norms}"
                elif isinstance(module, SqueezeExciteModule):
                    names[module.reduce], names[module.expand] = f"{prefix}.se.fc1", f"{prefix}.se.fc2"
            # timm keeps a place for the average pool of ResNet-D, also where the stride is 1 and it does nothing.
            first = 1 if network.architecture.shortcut == "avgpool_projection" else 0
            weighted = [module for module in unit.shortcut if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
            names.update((module, f"{prefix}.downsample.{first + at}") for at, module in enumerate(weighted))
    names[network.classifier] = "fc"
    ours = {module: name for name, module in network.named_modules()}
    return {f"{ours[module]}.{key}": f"{name}.{key}" for module, name in names.items() for key in module.state_dict()}


def _require_resnet(architecture: Architecture) -> None:
    for field, expected in (
        ("block", ("basic", "bottleneck")),
        ("stem", tuple(_STEMS)),
        ("norm", ("batch",)),
        ("norm_order", ("post",)),
        ("skip", ("identity",)),
        ("shortcut", ("projection", "avgpool_projection")),
        ("head_width", (None,)),
    ):
        value = getattr(architecture, field)
        if value not in expected:
            known = " or ".join(map(str, expected))
            raise ArchitectureError(f"{field}: '{value}' is in no published ResNet; their state dicts have {known}")


def to_published(network: ResidualNetwork) -> dict[str, Tensor]:
    """Return the network's state dict under torchvision's (timm's) keys; the tensors are shared, not copied.

    Raises ArchitectureError as `published_keys`.
    """
    keys = published_keys(network)
    return {keys[key]: value for key, value in network.state_dict().items()}


def load_published(network: ResidualNetwork, state: Mapping[str, Tensor]) -> None:
    """Load a state dict with torchvision's (timm's) ResNet keys, strictly: every key is used, every weight is set.

    Read files with ``torch.load(file, weights_only=True)`` or safetensors, which run no code.

    Raises:
        ArchitectureError: as `published_keys`, or a key is missing, unknown or of another shape (nothing is loaded).
    """
    keys = published_keys(network)
    expected = {keys[key]: value for key, value in network.state_dict().items()}
    for key in expected:
        if key not in state:
            raise ArchitectureError(f"state dict: '{key}' is missing ({len(state)} keys, expected {len(expected)})")
    for key, value in state.items():
        if key not in expected:
            raise ArchitectureError(f"state dict: '{key}' is unknown; {nearest(key, expected)}")
        if value.shape != expected[key].shape:
            raise ArchitectureError(
                f"state dict: '{key}' has shape {tuple(value.shape)}, expected {tuple(expected[key].shape)}"
            )
    with torch.no_grad():
        network.load_state_dict({ours: state[published] for ours, published in keys.items()})
