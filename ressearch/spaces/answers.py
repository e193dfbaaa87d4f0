"""The answers by which a search space describes a given network: the way back from an Architecture to a point.

An earlier study's network, or one named in a study file, is known by its fields; a sampler learns from answers.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from ressearch.errors import ArchitectureError, BudgetError, SpaceError, nearest
from ressearch.networks.architecture import Architecture
from ressearch.spaces.domains import Choice, Domain, Range, is_per_stage, label
from ressearch.spaces.space import SearchSpace
from ressearch.spaces.trials import FixedTrial, RandomTrial

_MOST = 4096
"""Combinations that are tried where a field does not say which of the choices it came from."""

_DRAWS = 200
"""Draws of what an incomplete point leaves open before it is refused."""


def answers_of(space: SearchSpace, architecture: Architecture) -> dict[str, Any] | None:
    """Return the answers with which `space` describes `architecture`; None if it cannot.

    RegNet's parameters cannot be told from a network: several give the same one.

    Examples:
        >>> space = SearchSpace({"depth": [8, 14], "width": {"low": 4, "high": 8}, "skip": ["none", "identity"]})
        >>> answers_of(space, Architecture(depths=(1, 1, 1), widths=(6, 12, 24)))
        {'depth': 8, 'width': 6, 'skip': 'identity'}
    """
    asked = list(_questions(space, architecture))
    if math.prod(len(possible) for _, possible in asked) > _MOST:
        return None
    names = [name for name, _ in asked]
    for values in itertools.product(*(possible for _, possible in asked)):
        answers = FixedTrial(dict(zip(names, values, strict=True)))
        try:
            found = space.suggest(answers)
        except (SpaceError, ArchitectureError, BudgetError):
            continue
        if found == architecture:
            return answers.given
    return None


def _questions(space: SearchSpace, architecture: Architecture) -> Iterator[tuple[str, list[Any]]]:
    """Yield each name that the space may ask for, and the answers that may lead to the network."""
    options = dict(architecture.skip_options)
    for key, domain in space.parameters.items():
        if is_per_stage(key, domain):
            for stage, value in enumerate(getattr(architecture, key)):
                yield f"{key}[{stage}]", [value]
            continue
        yield key, _possible(domain, _value(key, architecture))
        if isinstance(domain, Choice):
            for option, nested in domain.options.get(architecture.skip, {}).items():  # only `skip` has options
                yield f"{architecture.skip}.{option}", _possible(nested, options.get(option))


def _possible(domain: Domain, value: Any) -> list[Any]:
    """Return the answer that gives `value`; all choices if it is none of them (a field that a choice leaves open)."""
    if isinstance(domain, Range):
        return [] if value is None else [int(value) if domain.is_integer else float(value)]
    if not isinstance(domain, Choice):
        return [None]
    labels = [label(one) for one in domain.values]
    equal = [one for one in labels if one == label(value)]
    return equal or labels


def _value(key: str, architecture: Architecture) -> Any:
    """Return what a network says of a key of the space."""
    match key:
        case "stages":
            return len(architecture.depths)
        case "blocks_per_stage":
            return architecture.depths[0]
        case "width":
            is_dense = "growth_rate" in dict(architecture.skip_options)
            return architecture.stem_width if is_dense else architecture.widths[0]
        case "w0" | "wa" | "wm":
            return None
    return getattr(architecture, key)


def complete(space: SearchSpace, given: Mapping[str, Any], seed: str) -> dict[str, Any]:
    """Return answers with which a space describes a network within its budget: the given ones, and drawn others.

    Args:
        space: whose network.
        given: answers to some of its questions; values as in a study file.
        seed: of the others.

    Raises:
        SpaceError: an answer is not in the space, or to no question of it.
        ArchitectureError, BudgetError: no network with these answers was found, or none within the budget.
    """
    chance = RandomTrial(random.Random(seed).getrandbits(64))
    problem: Exception | None = None
    unasked, asked = set(given), set[str]()
    for _ in range(_DRAWS):
        answers = FixedTrial({key: label(value) for key, value in given.items()}, chance)
        try:
            space.suggest(answers)
        except (ArchitectureError, BudgetError) as error:
            problem = error
        else:
            if not answers.unused:
                return answers.given
            problem = SpaceError(f"{min(answers.unused)}: no question of a network with the other answers")
        unasked &= answers.unused
        asked |= answers.given.keys()
    if unasked:
        raise SpaceError(f"{min(unasked)}: no question of this space; {nearest(min(unasked), sorted(asked))}")
    assert problem is not None
    raise problem
