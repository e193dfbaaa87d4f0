"""Study files as text: values, the line of each key, overrides, and what has no place in one, each in a whole line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ressearch.errors import StudyError
from ressearch.search import documents, plain_yaml

TEXT = """\
name: mine
# a remark
space:
  grid:
    depth: [8, 14]
    skip:
      - none
      - scaled: {alpha: 0.5}
recipe: {lr: 1e-3, epochs: 5}
when: 2001-01-01
"""


def test_values_and_the_line_of_every_key() -> None:
    found = plain_yaml.load(TEXT)
    assert found.value == {
        "name": "mine",
        "space": {"grid": {"depth": [8, 14], "skip": ["none", {"scaled": {"alpha": 0.5}}]}},
        "recipe": {"lr": 0.001, "epochs": 5},
        "when": "2001-01-01",
    }
    assert found.lines == {
        (): 1,
        ("name",): 1,
        ("space",): 3,
        ("space", "grid"): 4,
        ("space", "grid", "depth"): 5,
        ("space", "grid", "depth", 0): 5,
        ("space", "grid", "depth", 1): 5,
        ("space", "grid", "skip"): 6,
        ("space", "grid", "skip", 0): 7,
        ("space", "grid", "skip", 1): 8,
        ("space", "grid", "skip", 1, "scaled"): 8,
        ("space", "grid", "skip", 1, "scaled", "alpha"): 8,
        ("recipe",): 9,
        ("recipe", "lr"): 9,
        ("recipe", "epochs"): 9,
        ("when",): 10,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-2.5e+2", -250.0),
        (".5e1", 5.0),
        ("1e", "1e"),
        ("e5", "e5"),
        ("1_000", 1000),
        ("0x1F", 31),
        ("2001-01-01", "2001-01-01"),
        ("yes", True),
        ("'yes'", "yes"),
        ("~", None),
        ("", None),
        ("9" * 15, int("9" * 15)),
        ("ü\u2028", "ü"),
        ("12:30", 750),
    ],
)
def test_plain_values_are_read_as_yaml_says_and_1e3_and_dates_as_everybody_does(text: str, value: Any) -> None:
    found = plain_yaml.load(text).value
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: \x07", "f.yaml:2: not valid YAML: the character U+0007 is not text"),
        ("a: \ud800", "f.yaml:1: not valid YAML: the character U+D800 is not text"),
        ("a: \uffff", "f.yaml:1: not valid YAML: the character U+FFFF is not text"),
        ("a: [1", "f.yaml:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\na: 2\n", "f.yaml:2: a: given twice, first on line 1"),
        ("s:\n  a: 1\n  b: 2\n  a: 2\n", "f.yaml:4: s.a: given twice, first on line 2"),
        ("a: &x 1\nb: *x\n", "f.yaml:2: YAML aliases (*x) are not used in study files"),
        ("a: 1\nb: !!int x\n", "f.yaml:2: YAML tags (!!int) are not used in study files"),
        ("a: !mine 3", "f.yaml:1: YAML tags (!mine) are not used in study files"),
        ("a: " + "[" * 20 + "]" * 20, "f.yaml:1: more than 20 levels of brackets or indentation"),
        ("a: {b: .inf}", "f.yaml:1: a.b: inf is not a finite number"),
        ("a:\n- 1\n- .nan", "f.yaml:3: a.1: nan is not a finite number"),
        ("a: 1" + "0" * 25, "f.yaml:1: a: about 10^25 is beyond 1e+24, the largest number there can be"),
        ("a: -1" + "0" * 25, "f.yaml:1: a: about -10^25 is beyond 1e+24, the largest number there can be"),
        ("a: " + "1" * 101, "f.yaml:1: not valid YAML: a number of 101 digits"),
        ("a: " + "x" * 10_001, "f.yaml:1: a: a text of 10001 characters; expected at most 10000"),
        ("1: 2", "f.yaml:1: the key 1 is not text"),
        (
            "a:\n  yes: 2",
            "f.yaml:1: a: the key True is not text; put it in quotes (yes, no, on and off mean true and false)",
        ),
        ("- a", "f.yaml: expected a mapping with the key 'space', got a list"),
        ("", "f.yaml: expected a mapping with the key 'space', got nothing"),
        ("text", "f.yaml: expected a mapping with the key 'space', got a str"),
    ],
)
def test_what_has_no_place_in_a_study_file_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(StudyError) as caught:
        documents.parse(text, "f.yaml")
    assert str(caught.value) == said


def test_what_is_just_within_the_bounds_is_read() -> None:
    deep: Any = plain_yaml.load("a: " + "[" * 19 + "]" * 19).value["a"]
    for _ in range(18):
        (deep,) = deep
    assert deep == []
    assert plain_yaml.load("a: " + "x" * 10_000).value["a"] == "x" * 10_000
    assert plain_yaml.load(f"a: {10**24}").value["a"] == 10**24
    with pytest.raises(plain_yaml.YamlError, match="beyond"):
        plain_yaml.load("a: " + "1" * 100)


def test_overrides_reach_and_make_keys_and_are_named_as_such() -> None:
    found = documents.parse(
        TEXT, "f.yaml", ["recipe.epochs=7", " space.grid.width =[4, 8]", "search.budget.epochs=3", "seed="]
    )
    assert found.values["recipe"] == {"lr": 0.001, "epochs": 7}
    assert found.values["space"]["grid"]["width"] == [4, 8]
    assert found.values["search"] == {"budget": {"epochs": 3}}
    assert found.values["seed"] is None
    assert found.text == TEXT
    assert found.overrides == {
        ("recipe", "epochs"): "7",
        ("space", "grid", "width"): "[4, 8]",
        ("search", "budget", "epochs"): "3",
        ("seed",): "",
    }
    places = {
        ("recipe", "epochs"): "--set recipe.epochs",
        ("recipe", "epochs", "deeper"): "--set recipe.epochs.deeper",
        ("search",): "--set search",
        ("recipe", "lr"): "f.yaml:9: recipe.lr",
        ("space", "grid", "depth", 1, "x"): "f.yaml:5: space.grid.depth.1.x",
        ("nothing", "there"): "f.yaml: nothing.there",
        (): "f.yaml",
    }
    assert {path: found.place(path) for path in places} == places
    assert str(found.error(("recipe", "lr"), "no")) == "f.yaml:9: recipe.lr: no"
    assert found.position(found.error(("recipe", "lr"), "no")) == 9
    assert found.position(found.error(("search",), "no")) == 0
    assert found.position(StudyError("other.yaml:9: no")) == 0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("recipe.epochs", "--set recipe.epochs: expected key=value, such as recipe.epochs=5"),
        ("=5", "--set =5: expected key=value, such as recipe.epochs=5"),
        ("recipe..epochs=5", "--set recipe..epochs=5: expected key=value, such as recipe.epochs=5"),
        ("name.first=5", "--set name.first=5: 'name' holds a value, not keys"),
        ("recipe.lr.x.y=5", "--set recipe.lr.x.y=5: 'recipe.lr' holds a value, not keys"),
        ("seed=[1", "--set seed=[1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("seed=!!int 1", "--set seed=!!int 1: YAML tags (!!int) are not used in study files"),
    ],
)
def test_an_override_that_is_none_is_said_as_it_was_typed(override: str, said: str) -> None:
    with pytest.raises(StudyError) as caught:
        documents.parse(TEXT, "f.yaml", [override])
    assert str(caught.value) == said


def test_a_file_that_is_missing_names_the_nearest_and_a_large_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "degradation.yaml").write_text(TEXT)
    (tmp_path / "search.yml").write_text(TEXT)
    assert documents.read(tmp_path / "degradation.yaml", ["seed=3"]).values["seed"] == 3
    for name, said in {
        "degradaton.yaml": f"no such file or directory; did you mean '{tmp_path / 'degradation.yaml'}'?",
        "serch.yml": f"no such file or directory; did you mean '{tmp_path / 'search.yml'}'?",
        "nothing-like-it": "no such file or directory",
        "none/f.yaml": "no such file or directory",
    }.items():
        with pytest.raises(StudyError) as caught:
            documents.read(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {said}"
    (tmp_path / "large.yaml").write_text("#" * 200_001)
    with pytest.raises(StudyError, match=r"large.yaml: is no study file: "):
        documents.read(tmp_path / "large.yaml")
    (tmp_path / "page.yaml").write_text(TEXT + "#" * (200_000 - len(TEXT)))
    assert documents.read(tmp_path / "page.yaml").values["name"] == "mine"


@pytest.mark.parametrize(
    ("chars", "is_readable"),
    [
        ("aé€ \U0001f600", True),
        ("\n\r\t\x85\xa0\u2028\u2029\ufeff", True),
        ("\x00\x07\x0b\x1b\x7f\x80\x9f", False),
        ("\ud7ff\ue000\ufffd\u200b", True),
        ("\ud800\udbff\udc00\udfff\ufffe\uffff", False),
    ],
)
def test_no_control_character_and_no_half_of_one_is_text(chars: str, is_readable: bool) -> None:
    assert [plain_yaml._is_readable(char) for char in chars] == [is_readable] * len(chars)


@pytest.mark.parametrize("text", ["", "\n", "# a remark\n"])
def test_a_text_that_says_nothing_has_no_lines(text: str) -> None:
    assert plain_yaml.load(text) == (None, {})


@pytest.mark.parametrize(
    "error", [yaml.YAMLError("odd\nfurther lines"), ValueError("odd\nfurther"), OverflowError("odd")]
)
def test_what_the_reader_says_without_a_place_is_said_by_its_first_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(text: str) -> None:
        raise error

    monkeypatch.setattr(plain_yaml, "_refuse_what_has_no_place", refuse)
    with pytest.raises(plain_yaml.YamlError) as caught:
        plain_yaml.load("a: 1")
    assert (str(caught.value), caught.value.line, caught.value.path) == ("not valid YAML: odd", None, ())
