"""Several studies side by side: their networks as one evidence, and what of their settings differs.

A network is the same in two studies if it has the same name and no column that both have tells otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ressearch.networks.architecture import Architecture
from ressearch.reporting.evidence import Correct, Evidence, axes_of_architecture, varying
from ressearch.units import listed

_UNSAID = ("name", "question", "space", "search", "resources", "loggers", "plugins")
"""What a study file says that does not change what a network reaches once it is trained."""


def side_by_side(studies: Mapping[str, Evidence]) -> Evidence:
    """Return the evidence of all networks of several studies, each with its `study`.

    Args:
        studies: each study's evidence by the name it goes by; the first is the one that others are compared with.
    """
    networks, replicates, first = [], [], 0
    place: dict[int, tuple[Evidence, int]] = {}
    for label, part in studies.items():
        networks.append(
            part.networks.assign(
                study=label, number_in_study=part.networks["network"], network=part.networks["network"] + first
            )
        )
        replicates.append(part.replicates.assign(network=part.replicates["network"] + first))
        place |= {one + first: (part, one) for one in part.numbers}
        first = max(place, default=-1) + 1
    table = pd.concat(networks, ignore_index=True)
    described = axes_of_architecture(Architecture())
    candidates = dict.fromkeys([*described, *(axis for part in studies.values() for axis in part.axes)])
    examples = {part.examples for part in studies.values()}
    shares = share_examples(studies)
    return Evidence(
        title=listed(list(studies)),
        question=_question(studies),
        networks=table,
        replicates=pd.concat(replicates, ignore_index=True),
        axes=("study", *varying(table, list(candidates))),
        examples=examples.pop() if shares and len(examples) == 1 else None,
        correct=_correct(place) if shares else lambda network: None,
        notes=tuple(dict.fromkeys(note for part in studies.values() for note in part.notes)),
        studies=dict(studies),
    )


def share_examples(studies: Mapping[str, Evidence]) -> bool:
    """Return whether all studies are known to have scored the same validation examples, in the same order."""
    runs = [part.results.run for part in studies.values() if part.results is not None]
    return len(runs) == len(studies) and len({run["split_fingerprint"] for run in runs}) == 1


def _correct(place: Mapping[int, tuple[Evidence, int]]) -> Correct:
    def correct(network: int) -> np.ndarray | None:
        part, number = place[network]
        return part.correct(number)

    return correct


def _question(studies: Mapping[str, Evidence]) -> str:
    asked = {part.question for part in studies.values()}
    return asked.pop() if len(asked) == 1 else ""


def settings_that_differ(studies: Mapping[str, Evidence]) -> dict[str, list[Any]]:
    """Return what differs of the studies' data, recipes and seeds: a value for each study, by its key in a study file.

    A key that a study does not have counts as None. Tables from elsewhere say nothing: of them there is no key.
    """
    runs = [None if part.results is None else part.results.run for part in studies.values()]
    if any(run is None for run in runs):
        return {}
    said = [_flat({key: value for key, value in run["study"].items() if key not in _UNSAID}) for run in runs if run]
    keys = dict.fromkeys(key for one in said for key in one)
    values = {key: [one.get(key) for one in said] for key in keys}
    return {key: found for key, found in values.items() if any(one != found[0] for one in found)}


def _flat(said: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in said.items():
        found |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return found
