"""What a study is made of: a file, a directory, a mapping, arrays; and what it says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ressearch import Study
from ressearch.data import from_arrays
from ressearch.errors import BudgetError, DataError, PluginError, StudyError, StudyErrors
from ressearch.limits import MOST_TRIALS
from ressearch.search import study as module
from ressearch.search.sections import BudgetSection, DataSection, Named, SpaceSection, to_name, to_tuple

TEXT = """\
question: Which?
space:
  grid: {depth: [8, 14], width: 4}
data: {name: synthetic, validation: 0.25}
recipe: {epochs: 2}
"""
STARTED = "2024-05-06T07:08:09+00:00"
VALUES: dict[str, Any] = {"space": {"grid": {"depth": [8, 14], "width": 4}}, "data": {"name": "synthetic"}}


def said(act: Any, *given: Any, **named: Any) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # its text is compared whole
        act(*given, **named)
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "study.yaml").write_text(TEXT)
    says(tmp_path, overrides={"recipe.epochs": "3", "search.trials": "1"}, plugins={})
    return tmp_path


def says(directory: Path, **run: Any) -> None:
    """Write what a run writes down of itself."""
    base = {"name": "mine", "planned_trials": 2, "input_shape": [1, 8, 8], "num_classes": 3, "started_at": STARTED}
    (directory / "run.json").write_text(json.dumps({**base, **run}))


def test_a_directorys_study_has_its_name_and_its_overrides(directory: Path) -> None:
    study = Study.from_directory(directory)
    assert (study.name, study.question, study.recipe.epochs, study.search.trials) == ("mine", "Which?", 3, 1)
    assert study.overrides == {"recipe.epochs": "3", "search.trials": "1"}
    assert study.text == TEXT
    assert study.place("data", "validation") == f"{directory / 'study.yaml'}:4: data.validation"
    assert study.loaded_plugins == ()
    (directory / "study.yaml").write_text("name: another\n" + TEXT)
    assert Study.from_directory(str(directory)).name == "another"
    says(directory)
    assert Study.from_directory(directory).overrides == {}


def test_plugins_of_a_directory_are_asked_for_as_the_user_names_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "load_kept", lambda *given: asked.append(given) or ("a plugin",))
    run = json.loads((directory / "run.json").read_text())
    assert Study.from_directory(directory, True, place="s3://bucket/mine").loaded_plugins == ("a plugin",)
    assert Study.from_directory(str(directory)).loaded_plugins == ("a plugin",)
    assert asked == [(directory, run, True, "s3://bucket/mine"), (directory, run, False, directory)]


ARRAYS = from_arrays(np.arange(160.0).reshape(40, 1, 2, 2), np.arange(40) % 2, name="ours")


def test_a_directory_whose_data_were_in_memory_is_read_with_them(directory: Path) -> None:
    says(directory, study={"data": {"name": "memory:theirs"}})
    (directory / "study.yaml").write_text(TEXT.replace("synthetic", "memory:theirs").replace("8, 14", "8"))
    study = Study.from_directory(directory, data=ARRAYS)
    assert study.data.name == "memory:theirs"
    assert study.dataset.input_shape == (1, 2, 2)
    assert len(study.dataset.labels) == 40


@pytest.mark.parametrize(
    ("run", "name"), [({"study": {"data": {"name": "digits"}}}, "digits"), ({"study": {}}, ""), ({}, "")]
)
def test_data_that_a_study_reads_itself_are_handed_over_in_vain(directory: Path, run: Any, name: str) -> None:
    says(directory, **run)
    assert said(Study.from_directory, directory, data=ARRAYS) == (
        f"StudyError: data: the study's data are '{name}', which it reads itself; leave data out"
    )


def test_a_study_on_other_data_says_so_and_keeps_how_they_are_split() -> None:
    study = Study.from_dict({**VALUES, "data": {"name": "synthetic", "validation": 0.25}})
    other = study.with_data(ARRAYS)
    assert (other.data.name, other.data.validation) == ("memory:ours", 0.25)
    assert other.overrides == {"data.name": "memory:ours"}
    assert (study.data.name, study.overrides) == ("synthetic", {})


def test_a_study_that_names_no_data_may_be_given_some() -> None:
    assert Study.from_dict({"space": VALUES["space"]}).with_data(ARRAYS).stated["data"] == {"name": "memory:ours"}


@pytest.mark.parametrize("data", [ARRAYS, {"name": ARRAYS, "test": 0.3}])
def test_a_data_set_may_stand_where_its_name_would(data: Any) -> None:
    study = Study(**{**VALUES, "data": data})
    assert study.stated["data"] == ({"name": "memory:ours"} if data is ARRAYS else {"name": "memory:ours", "test": 0.3})
    assert study.dataset.source == ARRAYS.source


def test_numpys_numbers_arrays_and_ranges_are_pythons() -> None:
    values = {
        "a": np.float64(0.5),
        "b": np.array([1, 2]),
        "c": range(3),
        "d": (np.int64(1), [np.bool_(True)]),
        "e": "x",
    }
    found = module._without_numpy(values)
    assert found == {"a": 0.5, "b": [1, 2], "c": [0, 1, 2], "d": [1, [True]], "e": "x"}
    assert [type(one) for one in (found["a"], found["b"][0], found["d"][0], found["d"][1][0])] == [
        float,
        int,
        int,
        bool,
    ]
    assert module._without_arrays({"data": "digits"}) == {"data": "digits"}
    assert module._without_arrays({"seed": np.int64(3), "data": {"root": "x"}}) == {"seed": 3, "data": {"root": "x"}}


def test_what_is_no_mapping_of_plain_values_is_said_in_one_line() -> None:
    line = said(Study.from_dict, {"space": {"grid": {"depth": object}}})
    assert line.startswith("StudyError: study: expected text, numbers, lists and mappings alone: ")
    nested: dict[str, Any] = {}
    nested["again"] = nested
    assert said(Study.from_dict, {"space": nested}).startswith("StudyError: study: expected text, numbers, lists")


def test_a_study_says_what_it_was_given_in_words_of_its_own() -> None:
    study = Study.from_dict({"question": "Größe?", "space": {"grid": {"width": [4, 8], "depth": [8]}}})
    assert study.text == "question: Größe?\nspace:\n  grid:\n    width:\n    - 4\n    - 8\n    depth:\n    - 8\n"
    assert study.stated == {"question": "Größe?", "space": {"grid": {"width": [4, 8], "depth": [8]}}}
    assert study.place("space", "grid", "depth") == "study:7: space.grid.depth"
    assert (study.name, study.seed, study.loggers, study.plugins) == ("study", 0, (), ())
    twice = [8, 14]
    assert "*" not in Study.from_dict({"space": {"grid": {"depth": twice, "width": twice}}}).text


def test_a_file_gives_a_study_its_name_unless_it_says_one(tmp_path: Path) -> None:
    (tmp_path / "depth.study.yaml").write_text(TEXT)
    assert Study.from_file(tmp_path / "depth.study.yaml").name == "depth.study"
    assert Study.from_file(str(tmp_path / "depth.study.yaml"), ["name=mine"]).name == "mine"


def test_plugins_start_from_the_study_file_and_what_is_wrong_with_them_names_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "load_plugin", lambda name, base: asked.append((name, base)) or f"the {name}")
    (tmp_path / "mine.yaml").write_text(TEXT + "plugins: [one.py, two]\n")
    assert Study.from_file(tmp_path / "mine.yaml").loaded_plugins == ("the one.py", "the two")
    assert Study.from_dict({**VALUES, "plugins": "one.py"}).loaded_plugins == ("the one.py",)
    assert asked == [("one.py", tmp_path), ("two", tmp_path), ("one.py", Path())]
    (tmp_path / "mine.yaml").write_text(TEXT + "plugins: [a/one.py, b/one.py]\n")
    line = said(Study.from_file, tmp_path / "mine.yaml")
    assert line.startswith(f"PluginError: {tmp_path / 'mine.yaml'}:6: plugins: ")

    def refused(name: str, base: Path) -> Any:
        raise PluginError(f"plugin {name}: no such file")

    monkeypatch.setattr(module, "load_plugin", refused)
    assert (
        said(Study.from_dict, {**VALUES, "plugins": ["x"]}) == "PluginError: study:9: plugins: plugin x: no such file"
    )
    for odd in (3, [3], {"a": 1}):
        assert " plugins" in said(Study.from_dict, {**VALUES, "plugins": odd})


class Missing:
    """Data that are not on this machine."""

    missing = "photos: not on this machine; `ressearch data photos` fetches them"


def test_data_that_are_not_here_are_asked_for_where_the_study_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.from_dict(VALUES)
    study.require_data()
    study.__dict__["dataset"] = Missing()
    for act in (study.require_data, study.splits):
        assert said(act) == f"StudyError: study:7: data: {Missing.missing}"


def test_the_parts_of_the_data_are_made_once_and_counted() -> None:
    study = Study.from_dict({**VALUES, "data": {"name": "synthetic", "validation": 0.2, "test": 0.3, "per_class": 30}})
    splits = study.splits()
    assert study.splits() is splits
    assert study.examples == {"train": 90, "validation": 120, "test": 180}
    half = Study.from_dict({**VALUES, "data": {"name": "synthetic", "fraction": 0.5}}).examples
    assert half == {"train": 180, "validation": 120, "test": 120}
    other = Study.from_dict({**VALUES, "seed": 1, "data": {"name": "synthetic", "per_class": 30}})
    assert other.splits().fingerprint != splits.fingerprint


@pytest.mark.parametrize(
    ("space", "search", "recipe", "planned"),
    [
        ({"grid": {"depth": [8, 14], "width": [4, 6, 8]}}, {}, {}, 6),
        ({"grid": {"depth": [8, 14], "width": [4, 6, 8]}}, {}, {"lr": {"tune": [0.1, 0.2]}}, 12),
        ({"grid": {"depth": [8, 14], "width": [4, 6, 8]}}, {"trials": 5}, {}, 5),
        ({"search": {"depth": [8, 14], "width": [4, 6, 8]}}, {"trials": 5}, {}, 5),
        ({"search": {"depth": [8, 14], "width": [4, 6, 8]}}, {"trials": 50}, {"lr": {"tune": [0.1, 0.2]}}, 12),
        ({"search": {"depth": [8, 14], "width": [4, 6, 8]}}, {"budget": {"epochs": 9}}, {}, 6),
        ({"search": {"depth": [8, 14], "se_ratio": {"low": 0.1, "high": 0.5}}}, {"trials": 50}, {}, 50),
        ({"search": {"depth": [8], "se_ratio": {"low": 0.1, "high": 0.5}}}, {"budget": {"epochs": 9}}, {}, MOST_TRIALS),
    ],
)
def test_so_many_trials_are_planned(space: Any, search: Any, recipe: Any, planned: int) -> None:
    study = Study.from_dict({**VALUES, "space": space, "search": search, "recipe": {"epochs": 2, **recipe}})
    assert study.planned_trials == planned


def test_the_space_is_bounded_for_the_data_and_the_recipe() -> None:
    study = Study.from_dict(
        {
            **VALUES,
            "search": {
                "constraints": {"max_macs": "1M", "max_params": 30_000, "max_training_memory": "1G", "max_latency": 5}
            },
            "recipe": {"batch_size": 48, "optimizer": "adamw", "precision": "bfloat16"},
        }
    )
    space = study.search_space
    assert (space.input_shape, space.num_classes) == ((1, 8, 8), 3)
    budget = space.budget
    assert (budget.max_macs, budget.max_params, budget.max_training_memory) == (10**6, 30_000, 10**9)
    recipe = study.recipe
    assert (budget.batch_size, budget.optimizer_states) == (48, recipe.optimizer_states)
    assert budget.bytes_per_number == recipe.bytes_per_number
    assert study.search_space is space


def test_mistakes_are_said_together_in_the_order_of_the_file() -> None:
    values = {
        "space": {"grid": {"depth": [8], "width": {"low": 9, "high": 2}, "kernel_size": "x"}},
        "search": {"objective": "speed"},
    }
    with pytest.raises(StudyErrors) as caught:
        Study.from_dict(values)
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["study:5:", "study:8:", "study:10:"]
    assert lines[0].endswith("space.grid.width: the range is upside down: low 9 is above high 2")
    with pytest.raises(BudgetError, match=r"^study:\d+: search\.constraints: nothing in the space fits"):
        Study.from_dict({**VALUES, "search": {"constraints": {"max_macs": 5}}})


def test_data_that_cannot_be_read_are_named_with_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, options: Any) -> Any:
        raise DataError(f"{name}: is damaged")

    monkeypatch.setattr(module, "load_or_declare", load)
    assert "data: synthetic: is damaged" in said(Study.from_dict, VALUES)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "a name of 0 characters; expected 1 to 100"),
        ("x" * 101, "a name of 101 characters; expected 1 to 100"),
        ("é" * 100, None),
        ("€" * 67, "a name of 67 characters; expected 1 to 100"),
        ("x" * 100, None),
        ("x", None),
        (3, None),
        ("...", None),
        ("a.b c-d_é", None),
        *(
            (name, f"{name!r} is not the name of one directory, such as depth-study")
            for name in (".", "..", " a", "a ", "a/b", "a\\b", "a\tb")
        ),
    ],
)
def test_a_studys_name_is_one_directorys(name: Any, why: str | None) -> None:
    if why is None:
        assert to_name(name) == name
    else:
        with pytest.raises(ValueError, match="name") as caught:
            to_name(name)
        assert str(caught.value) == why


def test_sections_say_what_they_hold() -> None:
    assert (SpaceSection(grid={}).form, SpaceSection(search={}).form) == ("grid", "search")
    assert to_tuple("tensorboard") == ("tensorboard",)
    assert to_tuple(["a", "b"]) == ["a", "b"]
    assert Named(name="tpe", group=True).options == {"group": True}
    assert Named(name="tpe").options == {}
    bounded = [BudgetSection(), BudgetSection(epochs=1), BudgetSection(macs_trained=1), BudgetSection(wall_time=1)]
    assert [one.is_bounded for one in bounded] == [False, True, True, True]
    options = DataSection(
        name="digits", root="r", size=5, channels=3, image="i", label="l", verify=False, memory="stream"
    ).options
    assert (
        options._asdict()
        if hasattr(options, "_asdict")
        else vars(options)
        == {
            "root": "r",
            "size": 5,
            "channels": 3,
            "image": "i",
            "label": "l",
            "verify": False,
            "memory": "stream",
        }
    )


@pytest.mark.parametrize(
    ("validation", "test", "why"),
    [
        (0.5, 0.5, "validation 0.5 + test 0.5 leave nothing to train on"),
        (0.75, 0.5, "validation 0.75 + test 0.5 leave nothing to train on"),
        (0.5, 0.25, None),
        (0.99, None, None),
        (None, 0.99, None),
        (None, None, None),
    ],
)
def test_what_is_held_out_leaves_something_to_train_on(validation: Any, test: Any, why: str | None) -> None:
    def made() -> DataSection:
        return DataSection(name="digits", validation=validation, test=test)

    if why is None:
        assert (made().validation, made().test) == (validation, test)
    else:
        assert why in said(made)


def test_a_study_is_what_its_file_says_until_a_field_is_changed() -> None:
    study = Study(**VALUES)
    assert isinstance(study, Study)
    assert study.recipe == Study.from_dict(VALUES).recipe
    with pytest.raises(StudyError, match="study: question: changed since"):
        study.model_copy(update={"question": "x"}).require_as_read()
