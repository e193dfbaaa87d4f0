"""Building a network: its modules, their starting values, several seeds side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, overload

import torch

from ressearch.errors import ArchitectureError
from ressearch.networks.architecture import Architecture
from ressearch.networks.backbone import Backbone
from ressearch.networks.initialise import initialise
from ressearch.networks.module import ResidualNetwork
from ressearch.networks.plan import plan
from ressearch.networks.replicated import stack_states


@overload
def build(
    architecture: Architecture,
    in_channels: int = 3,
    num_classes: int | None = None,
    *,
    features_only: Literal[False] = False,
    out_indices: None = None,
) -> ResidualNetwork: ...


@overload
def build(
    architecture: Architecture,
    in_channels: int = 3,
    num_classes: int | None = None,
    *,
    features_only: Literal[True],
    out_indices: Sequence[int] | None = None,
) -> Backbone: ...


def build(
    architecture: Architecture,
    in_channels: int = 3,
    num_classes: int | None = None,
    *,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
) -> ResidualNetwork | Backbone:
    """Build the torch module of `architecture`, initialised from torch's global random state.

    Args:
        architecture: the network.
        in_channels: channels of images, shape (batch, in_channels, height, width); features of vectors, shape
            (batch, in_channels), and of sequences, shape (batch, tokens, in_channels).
        num_classes: outputs; None takes those of the data the stem was published for
            (10 for `cifar` and `linear`, 1000 for the others), 0 leaves the classifier out.
        features_only: return feature maps in the place of logits, as timm does (`Backbone`).
        out_indices: which of the feature maps, as `Backbone` takes them.

    Returns:
        A module whose `forward` returns logits, shape (batch, num_classes); without classes the pooled features, shape
        (batch, num_features); with `features_only` the list of feature maps.

    Raises:
        ArchitectureError: the architecture's fields do not fit each other, or it has no such feature maps.

    Examples:
        >>> backbone = build(Architecture.preset("resnet50-imagenet"), features_only=True, out_indices=(1, 2, -1))
        >>> backbone.feature_info.channels(), backbone.feature_info.reduction()
        ([256, 512, 2048], [4, 8, 32])
    """
    if out_indices is not None and not features_only:
        raise ArchitectureError("out_indices: names feature maps, which features_only=True returns")
    network = ResidualNetwork(architecture, plan(architecture, in_channels, 0 if features_only else num_classes))
    initialise(network)
    return Backbone(network, out_indices) if features_only else network


def build_replicates(
    architecture: Architecture,
    seeds: Sequence[int],
    in_channels: int = 3,
    num_classes: int | None = None,
    prepare: Callable[[ResidualNetwork], object] | None = None,
) -> ResidualNetwork:
    """Build one network that is K replicates of `architecture`, each initialised as `build` does after its seed.

    Args:
        architecture: the network.
        seeds: one per replicate; torch's global random state is left as it was.
        in_channels: as in `build`, of one replicate.
        num_classes: as in `build`, of one replicate.
        prepare: is called with each replicate's network alone once it is initialised, such as to load weights into it.

    Returns:
        A module that maps ``(batch, K * in_channels, height, width)`` (vectors and sequences: the last axis K-fold) to
        logits ``(batch, K * num_classes)``, replicates side by side. For one seed, what `build` returns.
    """
    alone = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            alone.append(build(architecture, in_channels, num_classes))
        if prepare is not None:
            prepare(alone[-1])
    if len(alone) == 1:
        return alone[0]
    with torch.random.fork_rng(devices=[]):  # torch's layers draw values of their own, which are replaced
        network = ResidualNetwork(architecture, plan(architecture, in_channels, num_classes), len(alone))
    stack_states(network, alone)
    return network
