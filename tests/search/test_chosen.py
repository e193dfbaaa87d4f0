"""Which choices of grouping and layout a record holds, what can be repeated of them, and how they are kept in files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ressearch import Architecture, Study
from ressearch.errors import StudyError
from ressearch.search import choices as module
from ressearch.search.choices import RETRIED, Choices, put_back, recorded, repeated
from ressearch.training.choose import Choice

TINY = Architecture(depths=(1, 1), widths=(4, 8))


def study(**recipe: Any) -> Study:
    return Study.from_dict(
        {"space": {"grid": {"depth": 8, "width": 4}}, "data": {"name": "synthetic"}, "recipe": {"seeds": 2, **recipe}}
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the probe; a shape is the row's own, and worth a warm-up if its name says so."""
    made: list[Any] = []

    def probe(architecture: str, *given: Any) -> Any:
        made.append((architecture, *given))
        shape = architecture.removesuffix("!")
        return None if shape == "none" else SimpleNamespace(shape=shape, is_worthwhile=architecture.endswith("!"))

    monkeypatch.setattr(module, "probe", probe)
    monkeypatch.setattr(module, "architecture_of", lambda row: row["name"])
    monkeypatch.setattr(module, "recipe_of", lambda row: f"recipe of {row['name']}")
    return made


def row(name: str, grouped: Any = True, channels_last: Any = False, engine: Any = "how") -> dict[str, Any]:
    return {"name": name, "grouped": grouped, "channels_last": channels_last, "engine": engine}


def test_the_first_trial_of_each_shape_that_is_worth_a_warm_up_says_its_choice(asked: list[Any]) -> None:
    rows = [
        row("lost!", None),
        row("wide!", True, False),
        row("wide!", False, True),
        row("short"),
        row("none"),
        row("deep!", np.bool_(False), np.bool_(True)),
        row("later!", False, False, engine=f"how{RETRIED}"),
        row("old!", channels_last=float("nan")),
        row("one!", 1, 0),
    ]
    found = recorded(rows, (1, 8, 8), 3, 400)
    assert found == {"wide": Choice(True, False), "deep": Choice(False, True)}
    assert {type(one) for choice in found.values() for one in choice} == {bool}
    assert [one[0] for one in asked] == ["wide!", "wide!", "short", "none", "deep!"]
    architecture, shape, classes, recipe, device, examples = asked[0]
    assert (architecture, shape, classes, recipe, device.type, examples) == (
        "wide!",
        (1, 8, 8),
        3,
        "recipe of wide!",
        "cpu",
        400,
    )


RUN = {"input_shape": [1, 8, 8], "num_classes": 3, "examples": {"train": 400}}


def test_what_ran_so_far_is_put_back_and_what_is_repeated_only_where_nothing_has_run(
    asked: list[Any], tmp_path: Path
) -> None:
    store: Any = SimpleNamespace(
        tables=SimpleNamespace(trials={0: row("wide!", True, True), 1: row("deep!", False, False)}), directory=tmp_path
    )
    put_back(store, {**RUN, "choices": {"wide": [False, False], "new": [False, True]}}, str(tmp_path))
    assert asked[0][1:3] == ((1, 8, 8), 3)
    assert asked[0][5] == 400

    def never() -> Choice:
        raise AssertionError

    kept = {shape: Choices(str(tmp_path))(shape, never) for shape in ("wide", "deep", "new")}
    assert kept == {"wide": Choice(True, True), "deep": Choice(False, False), "new": Choice(False, True)}
    asked.clear()
    put_back(store, {"choices": {}}, str(tmp_path))  # an older version did not write how many examples there were
    assert asked == []


def earlier(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], recipe: Any = None, **run: Any) -> list[Any]:
    """Stand in for the record of an earlier study; returns which are read."""
    read: list[Any] = []
    settings = {**study().recipe.model_dump(mode="json"), **(recipe or {})}
    record = {**RUN, "study": {"recipe": settings}, **run}
    trials = pd.DataFrame(rows)
    monkeypatch.setattr(
        module, "load", lambda directory: read.append(directory) or SimpleNamespace(run=record, trials=trials)
    )
    return read


def test_an_earlier_studys_choices_are_repeated(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    read = earlier(monkeypatch, [row("wide!", True, False), row("old!", None), row("deep!", False, True)])
    assert repeated("runs/first", study()) == {"wide": Choice(True, False), "deep": Choice(False, True)}
    assert read == ["runs/first"]
    assert asked[0][1:3] == ((1, 8, 8), 3)
    earlier(monkeypatch, [])
    assert repeated("runs/first", study()) == {}


@pytest.mark.parametrize(
    ("recipe", "run", "said"),
    [
        ({"batch_size": 32}, {}, "has recipe.batch_size 32, this study 64"),
        ({"precision": "float16"}, {}, "has recipe.precision float16, this study float32"),
        ({"replicates": "separate"}, {}, "has recipe.replicates separate, this study auto"),
        ({"channels_last": True}, {}, "has recipe.channels_last True, this study auto"),
        ({}, {"study": {}}, "has recipe.batch_size None, this study 64"),
    ],
)
def test_a_recipe_whose_trials_run_otherwise_has_nothing_to_repeat(
    monkeypatch: pytest.MonkeyPatch, recipe: Any, run: Any, said: str
) -> None:
    earlier(monkeypatch, [row("wide!")], recipe, **run)
    with pytest.raises(StudyError) as caught:
        repeated("runs/first", study())
    assert str(caught.value) == f"runs/first: {said}: there is nothing to repeat of how its trials ran"


def test_other_inputs_and_older_records_have_nothing_to_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier(monkeypatch, [row("wide!")], input_shape=[3, 32, 32])
    with pytest.raises(StudyError) as caught:
        repeated("runs/first", study())
    assert str(caught.value) == "runs/first: has inputs of (3, 32, 32), this study of (1, 8, 8)"
    earlier(monkeypatch, [row("old!", None), row("old!", True, None)])
    with pytest.raises(StudyError) as caught:
        repeated("runs/first", study())
    assert str(caught.value) == "runs/first: is of an older version, which did not record how its trials ran"


def file_of(place: Path, shape: str) -> Path:
    return place / f"choice-{hashlib.sha256(shape.encode()).hexdigest()[:24]}.json"


def test_a_choice_lies_in_a_file_named_by_its_shapes_hash(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    assert Choices(str(place))("größe", lambda: Choice(True, False)) == Choice(True, False)
    assert [file.name for file in place.iterdir()] == [file_of(place, "größe").name]
    assert json.loads(file_of(place, "größe").read_text()) == {
        "shape": "größe",
        "is_grouped": True,
        "channels_last": False,
    }


@pytest.mark.parametrize("damaged", ["", "{", "[]", "3", '{"is_grouped": true}', '{"channels_last": true}', "\udcff"])
def test_a_damaged_file_is_no_choice(tmp_path: Path, damaged: str) -> None:
    file_of(tmp_path, "wide").write_bytes(damaged.encode(errors="surrogateescape"))
    assert Choices(str(tmp_path))("wide", lambda: Choice(False, True)) == Choice(False, True)


@pytest.mark.parametrize("is_there", [True, False])
def test_on_a_file_system_without_links_the_first_stays_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    def link(source: Any, target: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    choices = Choices(str(tmp_path))
    if is_there:
        file_of(tmp_path, "wide").write_text('{"is_grouped": true, "channels_last": true}')
    choices.put({"wide": Choice(False, True)})
    assert choices("wide", lambda: Choice(False, False)) == (Choice(True, True) if is_there else Choice(False, True))
    assert not list(tmp_path.glob("*.part"))


def test_a_full_disk_leaves_nothing_behind_and_others_are_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def create(self: Choices, shape: str, text: str) -> None:
        written.append(shape)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Choices, "_create", create)
    Choices(str(tmp_path)).put({"wide": Choice(True, True), "deep": Choice(True, True)})
    assert written == ["wide", "deep"]
    assert Choices(str(tmp_path))("wide", lambda: Choice(True, False)) == Choice(True, False)
