"""What timm and torchvision publish, as a fixture: keys and shapes of their models, and logits of made weights.

    python tests/published_layouts.py    # with timm and torchvision installed; writes published_layouts.json.gz

Shapes are kept once per model as ``key: shape``; logits are the first four of `made_input`, with `made_state` loaded,
in float64, in evaluation and in training mode, dropout and stochastic depth off.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FIXTURE = Path(__file__).with_name("published_layouts.json.gz")

_RESNETS = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
_REGNETS = ["200mf", "400mf", "600mf", "800mf", "1.6gf", "3.2gf", "4.0gf", "6.4gf", "8.0gf", "12gf", "16gf", "32gf"]
_TORCHVISION_REGNETS = {  # those of pycls' widths: torchvision's x_400mf, y_800mf and y_8gf have others
    "x": {"800mf": "800mf", "1.6gf": "1_6gf", "3.2gf": "3_2gf", "8.0gf": "8gf", "16gf": "16gf", "32gf": "32gf"},
    "y": {"400mf": "400mf", "1.6gf": "1_6gf", "3.2gf": "3_2gf", "16gf": "16gf", "32gf": "32gf"},
}
_DENSENETS = ("densenet121", "densenet169", "densenet201")

TIMM = {
    **{f"{name}-imagenet": name for name in _RESNETS},
    **{f"{name}-d-imagenet": f"{name}d" for name in _RESNETS},
    "wide-resnet50-2-imagenet": "wide_resnet50_2",
    "resnext50-32x4d-imagenet": "resnext50_32x4d",
    "resnext101-32x4d-imagenet": "resnext101_32x4d",
    "resnext101-32x8d-imagenet": "resnext101_32x8d",
    "se-resnet50-imagenet": "seresnet50",
    "convnext-tiny-imagenet": "convnext_tiny",
    "convnext-small-imagenet": "convnext_small",
    "efficientnet-b0-imagenet": "efficientnet_b0",
    **{
        f"regnet{kind}-{size}-imagenet": f"regnet{kind}_{tenths:03d}"
        for kind in "xy"
        for size, tenths in zip(_REGNETS, (2, 4, 6, 8, 16, 32, 40, 64, 80, 120, 160, 320), strict=True)
    },
    **{f"{name}-imagenet": name for name in _DENSENETS},
}
"""timm's model of each preset."""

TORCHVISION = {
    **{f"{name}-imagenet": name for name in _RESNETS},
    "wide-resnet50-2-imagenet": "wide_resnet50_2",
    "resnext50-32x4d-imagenet": "resnext50_32x4d",
    "resnext101-32x8d-imagenet": "resnext101_32x8d",
    "convnext-tiny-imagenet": "convnext_tiny",
    "convnext-small-imagenet": "convnext_small",
    "efficientnet-b0-imagenet": "efficientnet_b0",
    **{
        f"regnet{kind}-{size}-imagenet": f"regnet_{kind}_{name}"
        for kind, names in _TORCHVISION_REGNETS.items()
        for size, name in names.items()
    },
    **{f"{name}-imagenet": name for name in _DENSENETS},
}
"""torchvision's."""

WITH_LOGITS = ("convnext-tiny-imagenet", "efficientnet-b0-imagenet", "regnety-400mf-imagenet", "densenet121-imagenet")


def made_state(shapes: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """Return a float64 state dict whose every tensor follows from its key alone; numpy's old generator is frozen."""
    state = {}
    for key, shape in shapes.items():
        random = np.random.RandomState(zlib.crc32(key.encode()))
        if key.endswith("num_batches_tracked"):
            value: Any = np.array(0)
        elif key.endswith(("running_var", "gamma", "layer_scale")) or (key.endswith("weight") and len(shape) == 1):
            value = random.uniform(0.5, 1.5, shape)
        elif key.endswith("weight"):
            value = random.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
        else:
            value = random.standard_normal(shape) / 10
        state[key] = torch.from_numpy(np.asarray(value))
    return state


def made_input() -> Tensor:
    """Return three images of 32 x 32 pixels."""
    return torch.from_numpy(np.random.RandomState(0).standard_normal((3, 3, 32, 32)))


def logits(network: nn.Module) -> dict[str, list[list[float]]]:
    """Return a network's first logits of `made_input` in both modes."""
    found = {}
    for mode in (False, True):
        with torch.no_grad():
            out = network.train(mode)(made_input())
        found["train" if mode else "eval"] = out[:, :4].tolist()
    return found


def read() -> dict[str, Any]:
    """Return the fixture: by house its version and its models by preset, each with ``shapes`` and maybe ``logits``."""
    content: dict[str, Any] = json.loads(gzip.decompress(FIXTURE.read_bytes()))
    return content


def _calm(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Dropout) or type(module).__name__ == "StochasticDepth":
            module.p = 0.0  # type: ignore[assignment]
    return network


def main() -> None:
    import timm
    import torchvision

    makers = {
        "timm": (timm.__version__, TIMM, timm.create_model),
        "torchvision": (torchvision.__version__, TORCHVISION, torchvision.models.get_model),
    }
    content: dict[str, Any] = {}
    for house, (version, names, make) in makers.items():
        models: dict[str, Any] = {}
        for preset, name in names.items():
            network = _calm(make(name))
            shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
            models[preset] = {"name": name, "shapes": shapes}
            if preset in WITH_LOGITS:
                network.double().load_state_dict(made_state(shapes))
                models[preset]["logits"] = logits(network)
            print(house, name, len(shapes))
        content[house] = {"version": version, "models": models}
    FIXTURE.write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
