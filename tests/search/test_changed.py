"""What of a study file counts as a change, which change extends a study, and the whole lines that refuse the others."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ressearch import Study
from ressearch.errors import StudyError
from ressearch.search import changes
from ressearch.search.changes import Change, accept, changes_of, changes_of_file, require_same_data

TEXT = """\
space: {search: {depth: [8, 14], width: 4}}
data: {name: synthetic}
recipe: {epochs: 2}
search: {trials: 4, sampler: random}
"""


def study(tmp_path: Path, text: str = TEXT) -> Study:
    (tmp_path / "study.yaml").write_text(text)
    return Study.from_file(tmp_path / "study.yaml")


def began(one: Study, **stated: Any) -> dict[str, Any]:
    return {"name": "study", "study": one.model_dump(mode="json"), "stated": one.stated, **stated}


EXTENDS = [
    ("search.trials", 4, 5, True),
    ("search.trials", 4, 4, False),
    ("search.trials", 4, 3, False),
    ("search.trials", 4, None, True),
    ("search.trials", None, 5, False),
    ("search.trials", None, None, False),
    ("search.budget.epochs", 10, 11, True),
    ("search.budget.wall_time", 10.0, 9.0, False),
    ("search.finalists.count", 0, 1, True),
    ("search.finalists.count", 2, 1, False),
    ("search.finalists.seeds", 1, 2, False),
    ("search.trials_of", 1, 2, False),
    ("resources.concurrency", 4, 1, True),
    ("resources", {}, {"concurrency": 1}, True),
    ("loggers", [], ["mlflow"], True),
    ("question", "a", "b", True),
    ("questions", "a", "b", False),
    ("data.root", None, "/data", True),
    ("data.memory", "auto", "stream", True),
    ("data.verify", True, False, True),
    ("data.size", 32, 64, False),
    ("recipe.epochs", 2, 3, False),
    ("seed", 0, 1, False),
    ("name", "a", "b", False),
]


@pytest.mark.parametrize(("key", "old", "new", "extends"), EXTENDS)
def test_more_of_the_same_extends_a_study_and_nothing_else(key: str, old: Any, new: Any, extends: bool) -> None:
    assert changes._extends(Change(key, old, new)) is extends


def test_values_are_known_by_their_dotted_keys() -> None:
    values = {"a": {"b": {"c": 1, "d": [2, {"e": 3}]}, "f": {}}, "g": None, 5: "h"}
    assert changes._flat(values) == {"a.b.c": 1, "a.b.d": [2, {"e": 3}], "a.f": {}, "g": None, "5": "h"}
    assert changes._flat({}) == {}


@pytest.mark.parametrize(
    ("key", "value"), [("a.b", 1), ("a", {"b": 1}), ("a.c", None), ("c.d.e", "text"), ("x", None), ("x.y", None)]
)
def test_a_dotted_key_says_what_a_file_states_of_it_or_of_the_key_above(key: str, value: Any) -> None:
    assert changes._at({"a": {"b": 1}, "c": "text"}, key) == value


def test_true_is_not_one() -> None:
    pairs = [(1, 1), (1, 1.0), (True, True), (True, 1), (0, False), (1, 2), (None, None), ([1], [1]), ("a", "b")]
    assert [changes._same(*pair) for pair in pairs] == [True, True, True, False, False, False, True, True, False]


def test_a_study_that_is_what_it_was_has_no_change(tmp_path: Path) -> None:
    one = study(tmp_path)
    assert changes_of(one, one.stated, began(one)) == []
    assert changes_of(one, one.stated, {}) == []
    assert changes_of(one, one.stated, {"study": {}}) == []


def test_what_is_stated_otherwise_is_a_change_in_the_order_of_keys(tmp_path: Path) -> None:
    run = began(study(tmp_path))
    now = study(
        tmp_path,
        TEXT.replace("epochs: 2", "epochs: 3, ema: 0.9").replace("trials: 4, ", "trials: 4, baseline: random, ")
        + "seed: 2\n",
    )
    found = changes_of(now, now.stated, run)
    assert found == [
        Change("recipe.ema", None, 0.9),
        Change("recipe.epochs", 2, 3),
        Change("search.baseline", None, "random"),
        Change("seed", 0, 2),
    ]
    back = changes_of(study(tmp_path), study(tmp_path).stated, began(now))
    assert [(one.key, one.old, one.new) for one in back] == [(one.key, one.new, one.old) for one in found]


def test_another_versions_default_is_no_change_and_what_it_did_not_know_was_todays(tmp_path: Path) -> None:
    one = study(tmp_path)
    run = began(one)
    run["study"]["recipe"]["weight_decay"] = 0.25  # its default then; the file states nothing of it
    assert changes_of(one, one.stated, run) == []
    del run["study"]["recipe"]["ema"]
    assert changes_of(one, one.stated, run) == []
    without = {key: value for key, value in run.items() if key != "stated"}
    assert changes_of(one, one.stated, without) == []
    now = study(tmp_path, TEXT.replace("epochs: 2", "epochs: 2, ema: 0.9, weight_decay: 0.5"))
    expected = [Change("recipe.ema", None, 0.9), Change("recipe.weight_decay", 0.25, 0.5)]
    assert changes_of(now, now.stated, run) == expected
    assert changes_of(now, now.stated, without) == expected
    run["study"]["recipe"]["optimizer"] = "of another version"  # nothing of it can be read today
    assert changes_of(one, one.stated, run) == []
    assert changes_of(now, now.stated, run) == [expected[1]]


def test_a_file_is_compared_with_its_overrides(tmp_path: Path) -> None:
    one = study(tmp_path)
    assert changes_of_file(tmp_path, began(one)) == []
    assert changes_of_file(tmp_path, began(one, overrides={"recipe.epochs": "5", "seed": "3"})) == [
        Change("recipe.epochs", 2, 5),
        Change("seed", 0, 3),
    ]
    named = {**began(one), "name": "another"}
    assert changes_of_file(tmp_path, named) == [Change("name", "study", "another")]


def test_a_file_of_another_version_is_none_of_this_one(tmp_path: Path) -> None:
    run = began(study(tmp_path))
    (tmp_path / "study.yaml").write_text(TEXT + "key_of_tomorrow: 1\n")
    with pytest.raises(StudyError) as caught:
        changes_of_file(tmp_path, run)
    assert str(caught.value) == f"{tmp_path / 'study.yaml'}: is no study file of this version"


def tables(*phases: str) -> Any:
    return SimpleNamespace(trials={number: {"phase": phase} for number, phase in enumerate(phases)})


MORE = Change("search.trials", 3, 4)
ELSEWHERE = "put it back, or run the changed file into a new directory (`ressearch run study.yaml --out NEW`)"


def test_no_change_and_one_that_is_asked_for_are_taken(tmp_path: Path) -> None:
    one = study(tmp_path)
    accept(one, [], tables("search", "final"), False, "runs/s")
    accept(one, [MORE, Change("question", "a", "")], tables("search"), True, "runs/s")
    accept(one, [Change("question", "a", "")], tables("search", "final"), True, "runs/s")
    accept(one, [Change("search.finalists.count", 0, 1)], tables("search", "baseline"), True, "runs/s")


REFUSED = [
    (
        [Change("recipe.epochs", 3, 2)],
        ["search"],
        True,
        f"3: recipe.epochs: 2, but the study began with 3; a study goes on as it began: {ELSEWHERE}",
    ),
    (
        [MORE, Change("recipe.epochs", 3, 2)],
        [],
        False,
        f"3: recipe.epochs: 2, but the study began with 3; a study goes on as it began: {ELSEWHERE}",
    ),
    (
        [MORE],
        ["search", "final", "baseline"],
        True,
        "4: search.trials: 4, but the study began with 3; its search is closed, for trials of the phase 'final' "
        f"followed from it: {ELSEWHERE}",
    ),
    (
        [Change("search.budget.epochs", 3, None)],
        ["baseline", "search"],
        True,
        "4: search.budget.epochs: None, but the study began with 3; its search is closed, for trials of the phase "
        f"'baseline' followed from it: {ELSEWHERE}",
    ),
    (
        [MORE, Change("data.memory", "auto", "stream")],
        ["search"],
        False,
        "4: search.trials: 4, but the study began with 3; {file}:2: data.memory: 'stream', but the study began with "
        "'auto': `ressearch resume runs/s --accept-changes` goes on so; else put it back",
    ),
]


@pytest.mark.parametrize(("found", "phases", "is_asked", "said"), REFUSED)
def test_a_change_that_is_not_taken_is_said_with_both_values(
    tmp_path: Path, found: list[Change], phases: list[str], is_asked: bool, said: str
) -> None:
    with pytest.raises(StudyError) as caught:
        accept(study(tmp_path), found, tables(*phases), is_asked, "runs/s")
    file = str(tmp_path / "study.yaml")
    assert str(caught.value) == f"{file}:{said.replace('{file}', file)}"


def test_a_study_keeps_its_examples(tmp_path: Path) -> None:
    one = study(tmp_path)
    fingerprint = one.splits().fingerprint
    require_same_data(one, {}, "runs/s")
    require_same_data(one, {"split_fingerprint": fingerprint, "data_content": "decoded otherwise"}, "runs/s")
    with pytest.raises(StudyError) as caught:
        require_same_data(one, {"split_fingerprint": "another"}, "runs/s")
    assert str(caught.value) == (
        f"{tmp_path / 'study.yaml'}:2: data.name: the examples of 'synthetic' are not those that runs/s began with; a "
        "study keeps its data: bring them back, or run into a new directory"
    )


def test_arrays_in_memory_are_the_very_same(tmp_path: Path) -> None:
    import numpy as np

    from ressearch.data import from_arrays

    arrays = from_arrays(np.arange(160.0).reshape(40, 1, 2, 2), np.arange(40) % 2, name="changed")
    one = study(tmp_path, TEXT.replace("8, 14", "8")).with_data(arrays)
    run = {"split_fingerprint": one.splits().fingerprint, "data_content": one.dataset.content}
    require_same_data(one, run, "runs/s")
    require_same_data(one, {"data_content": one.dataset.content}, "runs/s")
    require_same_data(one, {"split_fingerprint": run["split_fingerprint"]}, "runs/s")
    for other in ({"split_fingerprint": "another"}, {"data_content": "another"}):
        with pytest.raises(StudyError, match="'memory:changed' are not those"):
            require_same_data(one, {**run, **other}, "runs/s")
    assert json.dumps(run)
