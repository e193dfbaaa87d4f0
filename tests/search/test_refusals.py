"""What is wrong with a study file is said in one line: where, which key, which value, what was expected or meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ressearch import Study
from ressearch.errors import RessearchError

REFUSED = yaml.safe_load((Path(__file__).parent / "refusals.yaml").read_text())
GRID = {"grid": {"depth": [8, 14], "width": 4}}
SPACE = {"search": {"depth": [8, 14], "width": {"low": 4, "high": 12}, "se_ratio": {"low": 0.1, "high": 0.5}}}


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(RessearchError) as caught:
        Study.from_dict(values)
    return str(caught.value)


def named(one: Any) -> str:
    return str(one)[:50]


@pytest.mark.parametrize("case", REFUSED["whole"], ids=named)
def test_a_grid_with_one_mistake_is_refused_in_this_line(case: dict[str, Any]) -> None:
    assert refusal({"space": GRID, "data": {"name": "synthetic"}, **case["says"]}) == f"study:{case['refused']}"


@pytest.mark.parametrize("case", REFUSED["search"], ids=named)
def test_a_search_with_one_mistake_is_refused_in_this_line(case: dict[str, Any]) -> None:
    says = dict(case["says"])
    resources = says.pop("_resources", {})
    search = {"trials": 6, "sampler": "random", **says}
    values = {"space": SPACE, "data": {"name": "synthetic"}, "recipe": {"epochs": 3}}
    assert refusal({**values, "search": search, "resources": resources}) == f"study:{case['refused']}"


@pytest.mark.parametrize("case", REFUSED["grid"], ids=named)
def test_what_is_for_a_sampled_space_is_refused_of_a_grid(case: dict[str, Any]) -> None:
    values = {"space": GRID, "data": {"name": "synthetic"}, "search": case["says"]}
    assert refusal(values) == f"study:{case['refused']}"


def test_every_mistake_is_said_each_with_its_line_and_none_twice() -> None:
    values = {
        "space": GRID,
        "data": {"name": "synthetic", "rot": "x"},
        "recipe": {"learning_rate": 0.1, "epochs": 0},
        "resources": {"concurrency": 0},
    }
    assert refusal(values).splitlines() == [
        "study:9: data.rot: unknown key; did you mean 'root'?",
        "study:11: recipe.learning_rate: unknown key; did you mean 'lr'?",
        "study:12: recipe.epochs: 0: expected a number of at least 1",
        "study:14: resources.concurrency: 0: expected a number of at least 1",
    ]


def test_fields_that_were_changed_since_a_study_was_read_are_named() -> None:
    study = Study.from_dict({"space": GRID, "data": {"name": "synthetic"}})
    study.require_as_read()
    changed = study.model_copy(update={"seed": 7, "recipe": study.recipe.model_copy(update={"epochs": 2})})
    with pytest.raises(RessearchError) as caught:
        changed.require_as_read()
    assert str(caught.value) == (
        "study: seed, recipe: changed since the study was read (model_copy?), so that its file would not say what ran; "
        "change the values and read them anew, with Study.from_dict or overrides"
    )
