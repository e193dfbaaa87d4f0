"""Whether a study's networks can start from the weights that its recipe names: asked before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch

from ressearch.errors import ArchitectureError, StudyError
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import input_channels
from ressearch.networks.module import ResidualNetwork
from ressearch.networks.plan import plan
from ressearch.networks.pretrained import Weights, load_weights
from ressearch.search.study import Study
from ressearch.spaces.trials import RandomTrial

_LOOKED_AT = 50
"""Networks of a space that are looked at; one that is met later and does not fit is a failed trial."""


def require_weights_fit(study: Study, networks: Iterable[Architecture] | None = None) -> list[str]:
    """Return how the weights that a study starts from are adapted to its data, in words; no weight is moved.

    Args:
        study: whose recipe may name a file of weights (`Recipe.init`).
        networks: of its space, of which the first 50 are looked at; None takes them from the space.

    Raises StudyError if the weights do not fit one of them.
    """
    weights = study.initial_weights
    if weights is None:
        return []
    if networks is None:
        space, chance = study.search_space, RandomTrial(study.seed)
        is_listed = space.size <= _LOOKED_AT
        networks = space.enumerate() if is_listed else (space.sample_one(chance) for _ in range(_LOOKED_AT))
    channels, classes = input_channels(study.dataset.input_shape), len(study.dataset.classes)
    notes: dict[str, None] = {}
    for architecture in dict.fromkeys(itertools.islice(networks, _LOOKED_AT)):
        try:
            notes |= dict.fromkeys(adaptations(weights, architecture, channels, classes))
        except ArchitectureError as error:
            raise StudyError(f"{study.place('recipe', 'init')}: {architecture.name}: {error}") from None
    return list(notes)


def adaptations(weights: Weights, architecture: Architecture, channels: int, classes: int) -> list[str]:
    """Return how weights are adapted to one network, in words; no weight is moved.

    Raises ArchitectureError if they do not fit it.
    """
    empty = weights._replace(state={key: value.to("meta") for key, value in weights.state.items()})
    with torch.device("meta"):
        network = ResidualNetwork(architecture, plan(architecture, channels, classes))
    return load_weights(network, empty)


__all__ = ["adaptations", "require_weights_fit"]
