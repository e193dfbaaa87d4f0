"""The presets as models of timm, where timm is installed: ``ressearch.timm.register()``, then ``timm.create_model``.

timm reads a name with a slash as a repository of a hub, so they are called ``ressearch_resnet56_cifar``: the preset's
name after ``ressearch_``, with ``_`` for what no Python name has. ``ressearch`` alone takes any `Architecture`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import nn

from ressearch.errors import ArchitectureError, RessearchError, nearest
from ressearch.limits import short
from ressearch.networks.architecture import PRESETS, Architecture
from ressearch.networks.build import build
from ressearch.networks.presets import published_input

__all__ = ["register"]

_BUILD = {"in_chans": "in_channels", "num_classes": "num_classes"}
_OWN = (*_BUILD, "features_only", "out_indices")
"""What of timm's keywords the networks take."""

_LEFT_ALONE: dict[str, tuple[object, ...]] = {"drop_rate": (0,), "drop_path_rate": (0,), "global_pool": ("avg",)}
"""Keywords that timm's scripts pass, with the values that ask for nothing."""

_TIMMS = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Keywords by which timm says which weights it would load."""


def register() -> list[str]:
    """Register every preset with timm; a second call adds those that plugins brought since.

    ``timm.create_model(name, num_classes=…, in_chans=…, features_only=…, out_indices=…)`` then builds them, and
    ``timm.create_model("ressearch", architecture="basic-d9.9.9-w16.32.64")`` any other network.

    Returns:
        The names, for ``timm.create_model``.

    Raises:
        RessearchError: timm is not installed.
    """
    try:
        from timm.models import is_model, register_model
    except ImportError as error:
        raise RessearchError(f"timm cannot be imported: {error}; `pip install timm` installs it") from None
    entries: dict[str, str | None] = {"ressearch": None}
    entries |= {"ressearch_" + re.sub(r"\W", "_", preset): preset for preset in PRESETS}
    own = list(__all__)
    for name, preset in entries.items():
        if not is_model(name):
            register_model(_entry(name, preset))
    __all__[:] = own  # timm adds the names, which are no attributes of this module
    return list(entries)


def _entry(name: str, preset: str | None) -> Callable[..., nn.Module]:
    """Return the function that timm calls for a name; for no preset it takes `architecture`."""

    def create(pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise ArchitectureError(
                f"{name}: pretrained: ressearch publishes no weights; ressearch.export.load_published reads timm's"
            )
        architecture = _architecture(options.pop("architecture", None)) if preset is None else PRESETS[preset]
        return _create(name, architecture, published_input(preset) if preset else None, options)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"Build {'any architecture' if preset is None else preset} as timm's models are built."
    return create


def _architecture(given: object) -> Architecture:
    if isinstance(given, str):
        return Architecture.from_name(given)
    if not isinstance(given, Architecture):
        raise ArchitectureError(f"architecture: {short(given)} is neither an Architecture nor a network's name")
    return given


def _create(name: str, architecture: Architecture, shape: tuple[int, ...] | None, options: dict[str, Any]) -> nn.Module:
    for key, value in options.items():
        if key in _LEFT_ALONE and value not in _LEFT_ALONE[key]:
            raise ArchitectureError(f"{name}: {key}: {short(value)} is not what the architecture says; see its fields")
        if key not in (*_OWN, *_LEFT_ALONE, *_TIMMS):
            raise ArchitectureError(f"{name}: '{key}' is no option of these networks; {nearest(key, _OWN)}")
    sizes = {ours: options[theirs] for theirs, ours in _BUILD.items() if theirs in options}
    if options.get("features_only"):
        network: Any = build(architecture, **sizes, features_only=True, out_indices=options.get("out_indices"))
    else:
        network = build(architecture, **sizes)
    classes = sizes.get("num_classes", architecture.default_classes)
    network.pretrained_cfg = network.default_cfg = {  # what timm.data.resolve_data_config reads
        "architecture": name,
        "num_classes": classes,
        **({"input_size": (sizes.get("in_channels", shape[0]), *shape[1:])} if shape else {}),
    }
    return network  # type: ignore[no-any-return]
