"""Building a network: its modules, their starting values, several seeds side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ressearch.networks.architecture import Architecture
from ressearch.networks.initialise import initialise
from ressearch.networks.module import ResidualNetwork
from ressearch.networks.plan import plan
from ressearch.networks.replicated import stack_states


def build(architecture: Architecture, in_channels: int = 3, num_classes: int | None = None) -> ResidualNetwork:
    """Build the torch module of `architecture`, initialised from torch's global random state.

    Args:
        architecture: the network.
        in_channels: channels of images, shape (batch, in_channels, height, width); features of vectors, shape
            (batch, in_channels), and of sequences, shape (batch, tokens, in_channels).
        num_classes: outputs; None takes those of the data the stem was published for
            (10 for `cifar` and `linear`, 1000 for the others).

    Returns:
        A module whose `forward` returns logits, shape (batch, num_classes).

    Raises:
        ArchitectureError: the architecture's fields do not fit each other.
    """
    network = ResidualNetwork(architecture, plan(architecture, in_channels, num_classes))
    initialise(network)
    return network


def build_replicates(
    architecture: Architecture, seeds: Sequence[int], in_channels: int = 3, num_classes: int | None = None
) -> ResidualNetwork:
    """Build one network that is K replicates of `architecture`, each initialised as `build` does after its seed.

    Args:
        architecture: the network.
        seeds: one per replicate; torch's global random state is left as it was.
        in_channels: as in `build`, of one replicate.
        num_classes: as in `build`, of one replicate.

    Returns:
        A module that maps ``(batch, K * in_channels, height, width)`` (vectors and sequences: the last axis K-fold) to
        logits ``(batch, K * num_classes)``, replicates side by side. For one seed, what `build` returns.
    """
    alone = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            alone.append(build(architecture, in_channels, num_classes))
    if len(alone) == 1:
        return alone[0]
    with torch.random.fork_rng(devices=[]):  # torch's layers draw values of their own, which are replaced
        network = ResidualNetwork(architecture, plan(architecture, in_channels, num_classes), len(alone))
    stack_states(network, alone)
    return network
