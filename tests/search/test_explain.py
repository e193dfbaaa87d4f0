"""Each kind of complaint of pydantic's as the sentence that a person reads, from complaints and models made by hand."""

from __future__ import annotations

import math
import typing
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from ressearch.search import explain
from ressearch.search.explain import complaints, sentence


class Tune(BaseModel):
    tune: int
    best: int = 0


class Transfer(BaseModel):
    transfer: int
    base: int = 0


class Recipe(BaseModel):
    lr: float | Annotated[Tune, "one"] | Annotated[Transfer, "other"] = 0.1
    epochs: int = 1


class Outer(BaseModel):
    recipe: Recipe = Recipe()
    perhaps: Recipe | None = None
    seed: int | None = None


def problem(kind: str, value: Any = None, loc: tuple[Any, ...] = ("key",), msg: str = "", **context: Any) -> Any:
    return {"type": kind, "input": value, "loc": loc, "msg": msg, **({"ctx": context} if context else {})}


SAID = [
    (problem("missing"), "missing"),
    (problem("value_error", 3, msg="Value error, it is\n   too much"), "it is too much"),
    (problem("greater_than", -1, gt=0), "-1: expected a number above 0"),
    (problem("greater_than", -1.5, gt=0.5), "-1.5: expected a number above 0.5"),
    (problem("greater_than_equal", 0, ge=1), "0: expected a number of at least 1"),
    (problem("greater_than_equal", 0, ge=10_000_000), "0: expected a number of at least 10000000"),
    (problem("greater_than_equal", 0, ge=0.0100), "0: expected a number of at least 0.01"),
    (problem("less_than", 1, lt=1.0), "1: expected a number below 1"),
    (problem("less_than_equal", 7, le=4), "7: expected a number of at most 4"),
    (problem("too_short", [], min_length=2), "[]: expected at least 2 items"),
    (problem("too_long", [1, 2, 3], max_length=2), "[1, 2, 3]: expected at most 2 items"),
    (problem("int_from_float", 2.5), "2.5 is not a whole number"),
    (problem("finite_number", math.inf), "inf is not a finite number"),
    (problem("int_parsing", "x"), "'x' is not a whole number"),
    (problem("float_type", "x"), "'x' is not a number"),
    (problem("decimal_parsing", "x"), "'x' is not a number"),
    (problem("string_type", 3), "3 is not text"),
    (problem("bool_parsing", "x"), "'x' is not true or false"),
    (problem("tuple_type", 3), "3 is not a list"),
    (problem("list_type", 3), "3 is not a list"),
    (problem("set_type", 3), "3 is not a list"),
    (problem("dict_type", 3), "3 is not keys and values"),
    (problem("mapping_type", 3), "3 is not keys and values"),
    (problem("model_type", [1]), "[1] is not keys and values"),
    (problem("url_parsing", "x", msg="Not a URL"), "'x': not a url"),
    (
        problem("literal_error", "autp", expected="True, False or 'auto'"),
        "'autp' is not true, false or 'auto'; did you mean 'auto'?",
    ),
    (
        problem("literal_error", "tru", expected="True, False or 'auto'"),
        "'tru' is not true, false or 'auto'; did you mean 'true'?",
    ),
    (
        problem("literal_error", "fals", expected="True, False or 'auto'"),
        "'fals' is not true, false or 'auto'; did you mean 'false'?",
    ),
    (problem("literal_error", "xyz", expected="'sgd' or 'adamw'"), "'xyz' is not 'sgd' or 'adamw'"),
    (problem("literal_error", 3, expected="1 or 33"), "3 is not 1 or 33"),
    (problem("extra_forbidden", 1, ("epoch",)), "unknown key; known: recipe, perhaps, seed"),
    (problem("extra_forbidden", 1, ("recipe", "epoch")), "unknown key; did you mean 'epochs'?"),
    (problem("extra_forbidden", 1, ("recipe", "learning_rate")), "unknown key; did you mean 'lr'?"),
    (problem("extra_forbidden", 1, ("perhaps", "learning_rate")), "unknown key; did you mean 'lr'?"),
    (problem("extra_forbidden", 1, ("recipe", "lr", "<Tune>", "learning_rate")), "unknown key; known: tune, best"),
    (problem("extra_forbidden", 1, ("recipe", "lr", "<Transfer>", "bas")), "unknown key; did you mean 'base'?"),
]


@pytest.mark.parametrize(("one", "said"), SAID, ids=lambda case: case if isinstance(case, str) else "")
def test_each_complaint_is_a_sentence(one: Any, said: str) -> None:
    assert sentence(one, one["loc"], Outer) == said


def test_without_a_model_no_key_is_known() -> None:
    assert sentence(problem("extra_forbidden", 1, ("epoch",)), ("epoch",)) == "unknown key; known: "


def test_of_a_text_of_pages_the_beginning_is_compared() -> None:
    near = "n" * 80
    said = sentence(problem("literal_error", near + "m" * 2000, expected=f"'{near}' or 'x'"), ("key",))
    assert said.endswith(f"; did you mean '{near}'?")


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ((), ["recipe", "perhaps", "seed"]),
        (("recipe",), ["lr", "epochs"]),
        (("perhaps",), ["lr", "epochs"]),
        (("recipe", "lr", "<Tune>"), ["tune", "best"]),
        (("recipe", "lr", "<Transfer>"), ["transfer", "base"]),
        (("recipe", "lr", "<Other>"), []),
        (("recipe", "epochs"), []),
        (("seed",), []),
        (("nothing",), ["recipe", "perhaps", "seed"]),
    ],
)
def test_the_keys_of_a_place_are_those_of_the_model_that_stands_there(path: tuple[str, ...], keys: list[str]) -> None:
    assert explain._keys_at(Outer, path) == keys


def test_a_form_is_a_name_in_angle_brackets() -> None:
    parts = ["<Tune>", "<>", "<Tune", "Tune>", "Tune", 3]
    assert [explain._is_tag(part) for part in parts] == [True, True, False, False, False, False]


def test_a_union_is_one_however_it_is_written() -> None:
    assert explain._is_union(int | None)
    assert explain._is_union(typing.Optional[int])  # noqa: UP045
    assert not explain._is_union(int)
    assert not explain._is_union(list[int])


def said_of(*problems: Any) -> list[tuple[tuple[Any, ...], str]]:
    error: Any = SimpleNamespace(errors=lambda: list(problems))
    return complaints(error, Outer)


def test_a_key_that_is_missing_because_it_is_misspelt_is_said_once() -> None:
    unknown = problem("extra_forbidden", 1, ("recipe", "epoch"))
    missing = problem("missing", {}, ("recipe", "epochs"))
    expected = (("recipe", "epoch"), "unknown key; did you mean 'epochs'?")
    assert said_of(missing, unknown) == [expected]
    assert said_of(unknown, missing) == [expected]
    elsewhere = problem("missing", {}, ("perhaps", "epochs"))
    assert said_of(elsewhere, unknown) == [(("perhaps", "epochs"), "missing"), expected]
    other = problem("missing", {}, ("recipe", "lr"))
    assert said_of(unknown, other) == [expected, (("recipe", "lr"), "missing")]
    no_key = problem("int_type", "x", ("recipe", "epoch"))
    assert said_of(missing, no_key)[0] == (("recipe", "epochs"), "missing")


def test_names_of_forms_stand_in_no_path_and_what_two_forms_say_alike_is_said_once() -> None:
    unknown = problem("extra_forbidden", 1, ("recipe", "lr", "<Tune>", "tun"))
    missing = problem("missing", {}, ("recipe", "lr", "<Tune>", "tune"))
    path = ("recipe", "lr", "tun")
    assert said_of(missing, unknown) == [(path, "unknown key; did you mean 'tune'?")]
    one, other = (problem("float_type", "x", ("recipe", "lr", form)) for form in ("<Tune>", "<Transfer>"))
    assert said_of(one, other) == [(("recipe", "lr"), "'x' is not a number")]
    assert said_of() == []
