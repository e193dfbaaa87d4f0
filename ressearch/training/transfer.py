"""Learning rates that fit every width: the maximal update parametrisation (muP; Yang et al. 2021, Table 3).

A rate found on a narrow network is carried to wider ones of the same family by scaling it parameter by parameter, and
the classifier's starting values with it. A dimension is *wide* if it differs from the base network's. For depth there
is the skip style `depth_scaled`: with branches scaled by 1/sqrt(L), rates carried over depths in Bordelon et al. 2024.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ressearch.errors import ArchitectureError
from ressearch.networks.architecture import Architecture
from ressearch.networks.build import build


class Scaling(NamedTuple):
    """How muP changes a network against its base.

    Attributes:
        lr: factor on the learning rate of each parameter, by name.
        classifier: factor on the classifier's starting weights.
    """

    lr: dict[str, float]
    classifier: float


def mup(architecture: Architecture, base_width: int, optimizer: str, in_channels: int, classes: int) -> Scaling:
    """Return muP's factors for `architecture`, against the same family with first stage `base_width`.

    SGD: input weights, biases and norms x fan-out, hidden weights x 1, output weights / fan-in; Adam: hidden and output
    weights / fan-in, others x 1 (all as ratios to the base). Output weights start with variance 1 / fan-in^2.

    Raises ArchitectureError if the base's widths are no whole channels.
    """
    base = _base(architecture, base_width)
    with torch.device("meta"):
        wide = dict(build(architecture, in_channels, classes).named_parameters())
        narrow = dict(build(base, in_channels, classes).named_parameters())
    factors = {}
    for name, parameter in wide.items():
        like = narrow[name]
        fan_out = parameter.shape[0] / like.shape[0]
        fan_in = parameter.shape[1] / like.shape[1] if parameter.ndim > 1 else 1.0
        is_hidden = fan_out != 1 and fan_in != 1
        if fan_in != 1 and not is_hidden:  # output weights
            factors[name] = 1 / fan_in
        elif is_hidden:
            factors[name] = 1.0 if optimizer == "sgd" else 1 / fan_in
        else:
            factors[name] = fan_out if optimizer == "sgd" else 1.0
    last = max(narrow, key=lambda name: (name.startswith("head"), name.endswith("weight"), name))
    ratio = wide[last].shape[1] / narrow[last].shape[1]
    return Scaling(factors, ratio**-0.5)


def _base(architecture: Architecture, base_width: int) -> Architecture:
    ratio = base_width / architecture.widths[0]
    changes: dict[str, object] = {
        "widths": tuple(_whole("widths", width * ratio) for width in architecture.widths),
        "stem_width": _whole("stem_width", architecture.stem_width * ratio),
    }
    if architecture.head_width is not None:
        changes["head_width"] = _whole("head_width", architecture.head_width * ratio)
    return architecture.replace(**changes)


def _whole(key: str, width: float) -> int:
    if abs(width - round(width)) > 1e-6:  # less than 1 is never within that of 0: widths are bounded
        raise ArchitectureError(f"{key}: lr.base_width makes {width:g} channels of a stage; expected whole ones")
    return round(width)
