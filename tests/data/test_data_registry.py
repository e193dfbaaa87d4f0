"""The registry of data sets: what is found under a name, when it is read again, and every refusal whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ressearch import registry as names
from ressearch.data import DATASETS, Dataset, Options, from_arrays, load_dataset, load_or_declare, registry
from ressearch.data.registry import DatasetType, Declared, dataset, describe_images, find, keep_in_memory, missing
from ressearch.errors import DataError, MissingDataError, RegistryError

DECLARED = Declared("Shapes (Nobody 2026)", (3, 4, 5), ("round", "square"), (3, 1), (0, 2))


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(DataError) as refused:
        call(*arguments)
    return str(refused.value)


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Afterwards no data set of these tests is registered or remembered."""
    monkeypatch.setattr(registry, "_in_memory", {})
    registry._loaded.cache_clear()
    with names.unchanged():
        yield
    registry._loaded.cache_clear()


def two(name: str = "two", **fields: Any) -> Dataset:
    labels = torch.tensor([0, 1, 0, 1])
    return Dataset(
        **{"name": name, "inputs": torch.zeros(4, 3), "labels": labels, "classes": ("a", "b"), "source": "s", **fields}
    )


def test_what_is_declared_stands_in_for_absent_data() -> None:
    sentence = "Shapes (Nobody 2026): 4 training and 2 test images of 5x4 colour pixels"
    assert DECLARED.source == sentence
    found = DECLARED.placeholder("shapes", "nowhere")
    assert (found.name, found.classes, found.source, found.test_from, found.missing) == (
        "shapes",
        ("round", "square"),
        sentence,
        4,
        "nowhere",
    )
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.labels.dtype == torch.int64
    assert isinstance(found.inputs, torch.Tensor)
    assert (found.inputs.shape, found.inputs.dtype, found.inputs.device.type) == ((6, 3, 4, 5), torch.uint8, "meta")
    assert (found.validation_from, found.place) == (None, None)
    grey = describe_images("T", (1, 20, 30), 60_000, 1000)
    assert grey == "T: 60,000 training and 1,000 test images of 30x20 grey pixels"


def test_a_loader_is_registered_with_what_its_docstring_says_first() -> None:
    @dataset("plain")
    def plain(argument: str, options: Options) -> Dataset:
        return two()

    @dataset("full", argument="PATH", get="buy it", declared=DECLARED)
    def full(argument: str, options: Options) -> Dataset:
        """Of all kinds.

        More.
        """
        return two()

    assert DATASETS["plain"] == DatasetType(plain, None, "", "", None)
    assert DATASETS["full"] == DatasetType(full, "PATH", "Of all kinds.", "buy it", DECLARED)
    with pytest.raises(RegistryError, match="'full' is registered already"):
        dataset("full")(lambda argument, options: two())
    dataset("full", replace=True)(plain)
    assert DATASETS["full"] == DatasetType(plain, None, "", "", None)
    assert DATASETS["memory"].summary == (
        "Arrays of the process that runs the study, handed over in Python (`ressearch.data.from_arrays`)."
    )


def test_what_follows_the_first_colon_is_the_argument() -> None:
    assert find("csv:a:b") == (DATASETS["csv"], "a:b")
    assert find("digits") == (DATASETS["digits"], "")
    for name, said in (
        ("digits:", "'digits:': 'digits' takes nothing after a colon"),
        ("digits:x", "'digits:x': 'digits' takes nothing after a colon"),
        ("csv", "'csv': expected csv:PATH"),
        ("csv:", "'csv:': expected csv:PATH"),
        ("diggits", "'diggits' is unknown; did you mean 'digits'?"),
    ):
        assert refusal(find, name) == said


def register(load: Callable[[str, Options], Any], **more: Any) -> list[tuple[str, Options]]:
    """Register a loader as `mine`; returns what it is called with."""
    calls: list[tuple[str, Options]] = []

    def mine(argument: str, options: Options) -> Any:
        calls.append((argument, options))
        return load(argument, options)

    dataset("mine", argument="PATH", replace=True, **more)(mine)
    return calls


def test_data_are_read_once_until_their_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = register(lambda argument, options: two())
    monkeypatch.chdir(tmp_path)
    options, file = Options(size=3), tmp_path / "f"
    for _ in range(2):
        load_dataset("mine:f", options)
        load_dataset("mine:f")
    assert calls == [("f", options), ("f", Options())]  # no such file yet
    file.write_bytes(b"x")
    for count, change in ((3, None), (4, (9, 9)), (5, (9, 10))):
        if change is not None:
            os.utime(file, ns=change)
        for _ in range(2):
            load_dataset("mine:f")
        assert len(calls) == count
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    os.link(file, "f")  # the same file, but a relative path there may mean others below it
    load_dataset("mine:f")
    assert len(calls) == 6
    assert registry._state("") == ()
    assert registry._state("a\0b") == ("a\0b",)
    assert registry._state("none") == ("none",)
    monkeypatch.chdir(tmp_path)
    assert registry._state("f") == (str(tmp_path), (1, 10))
    colons = tmp_path / "two:colons"
    for count, size in ((7, 1), (8, 2)):
        colons.write_bytes(bytes(size))
        load_dataset("mine:two:colons")
        assert len(calls) == count


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DataError("as it is"), "as it is"),
        (MemoryError(), "'mine:f': does not fit into this machine's memory"),
        (OSError(2, "No Such File", "g"), "'mine:f': g: no such file"),
        (OSError("Odd"), "'mine:f': odd"),
        (ValueError("one\ntwo"), "'mine:f': cannot be read: ValueError: one"),
        (KeyError(), "'mine:f': cannot be read: KeyError: "),
    ],
)
def test_a_loader_that_fails_is_said_in_one_line(error: Exception, said: str) -> None:
    def fails(argument: str, options: Options) -> Any:
        raise error

    register(fails)
    assert refusal(load_dataset, "mine:f") == said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (3, "its loader returns a int, not a Dataset(name, inputs, labels, classes, source)"),
        (two(inputs=np.zeros((4, 3))), "its inputs are a ndarray; expected a torch.Tensor"),
        (two(labels=[0, 1, 0, 1]), "its labels are a list; expected a torch.Tensor"),
        (
            two(labels=torch.tensor([0, 1, 0, 1], dtype=torch.int32)),
            "its labels are torch.int32 of shape (4,); expected int64, one for each of 4 inputs",
        ),
        (
            two(labels=torch.tensor([0, 1, 0])),
            "its labels are torch.int64 of shape (3,); expected int64, one for each of 4 inputs",
        ),
        (
            two(labels=torch.tensor([[0], [1], [0], [1]])),
            "its labels are torch.int64 of shape (4, 1); expected int64, one for each of 4 inputs",
        ),
        (two(classes=("a",)), "has one class (a); expected at least two"),
        (two(classes=()), "has one class (none); expected at least two"),
        (two(classes=("a  long\n name" + "x" * 70,)), f"has one class (a long name{'x' * 49}); expected at least two"),
        (two(classes=("a", "b", "c", "d")), "no example of class c"),
        (two(labels=torch.tensor([0, 3, 2, 1])), "label 2 is of no class; expected 0 to 1, one for each class"),
        (two(labels=torch.tensor([0, 1, -2, 1])), "label -2 is of no class; expected 0 to 1, one for each class"),
    ],
)
def test_what_no_network_can_learn_from_is_refused(made: Any, said: str) -> None:
    register(lambda argument, options: made)
    assert refusal(load_dataset, "mine:f") == f"'mine:f': {said}"


def test_inputs_in_memory_are_held_and_others_left(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[torch.Tensor] = []

    def hold(inputs: torch.Tensor) -> Any:
        held.append(inputs)
        return inputs + 1, "place"

    monkeypatch.setattr(registry, "hold", hold)
    data = two()
    register(lambda argument, options: data)
    found = load_dataset("mine:f")
    assert (found.inputs.flatten().tolist(), found.place) == ([1] * 12, "place")
    assert len(held) == 1
    assert held[0] is data.inputs
    placed: Any = two(place="there")
    register(lambda argument, options: placed)
    assert load_dataset("mine:g") is placed
    assert len(held) == 1


def test_data_that_are_missing_are_declared_if_anything_is() -> None:
    def absent(argument: str, options: Options) -> Any:
        if options.size == 3:
            raise DataError("damaged")
        raise MissingDataError(f"{argument} of size {options.size} is gone")

    register(absent, declared=DECLARED)
    found = load_or_declare("mine:f", Options(size=4))
    assert (found.name, found.missing, len(found.labels)) == ("mine:f", "f of size 4 is gone", 6)
    assert load_or_declare("mine:f").missing == "f of size None is gone"
    assert refusal(load_or_declare, "mine:f", Options(size=3)) == "damaged"
    register(absent)
    assert refusal(load_or_declare, "mine:g") == "g of size None is gone"
    calls = register(lambda argument, options: two(), declared=DECLARED)
    assert load_or_declare("mine:h", Options(size=9)).missing == ""
    assert calls == [("h", Options(size=9))]


def test_arrays_are_found_by_their_name_in_this_process() -> None:
    data = from_arrays(np.zeros((4, 3)), ["a", "b", "a", "b"])
    assert keep_in_memory(data) == "memory:arrays"
    found = load_dataset("memory:arrays")
    assert found.name == "memory:arrays"
    assert found.inputs is data.inputs
    assert keep_in_memory(data, "mine") == "memory:mine"
    assert load_dataset("memory:mine", Options(size=3)).name == "memory:mine"
    assert keep_in_memory(data, "") == "memory:"
    one = from_arrays(np.zeros((2, 3)), [0, 0], "one")
    assert refusal(keep_in_memory, one) == "'memory:one': has one class (0); expected at least two"
    three = from_arrays(np.zeros((3, 3)), [0, 1, 2], "three", classes=["a", "b"])
    said = "'memory:three': label 2 is of no class; expected 0 to 1, one for each class"
    assert refusal(keep_in_memory, three) == said
    assert refusal(load_dataset, "memory:one") == (
        "'memory:one': was in the memory of the process that ran the study; hand it over again: "
        "ressearch.resume(DIRECTORY, data=ressearch.data.from_arrays(...))"
    )


def test_arrays_and_labels_become_a_data_set() -> None:
    found = from_arrays([[1, 2], [3, 4]], ["b", "a"])
    assert (found.name, found.source, found.classes) == ("arrays", "arrays (arrays)", ("a", "b"))
    assert isinstance(found.inputs, torch.Tensor)
    assert (found.inputs.tolist(), found.labels.tolist()) == ([[1, 2], [3, 4]], [1, 0])
    found = from_arrays([[1, 2], [3, 4]], [1, 0], "mine", ["no", "yes"])
    assert (found.name, found.source, found.classes) == ("mine", "arrays (mine)", ("no", "yes"))
    for inputs, labels, said in (
        ([[1], [2]], [0], "'mine': 2 inputs but 1 labels"),
        ([[1], [2]], [0, None], "mine: labels: row 1 has no label"),
        ([["a"], ["b"]], [0, 1], "mine: expected an array of numbers, examples first; got <U1 (2, 1)"),
    ):
        assert refusal(from_arrays, inputs, labels, "mine") == said


def test_missing_files_are_said_with_every_place() -> None:
    error = missing("mine", [Path("/a"), Path("/b/c")], "buy it")
    assert isinstance(error, MissingDataError)
    assert str(error) == "'mine': not found in /a, /b/c; buy it; or name its directory with data.root"


def test_parts_are_ranges_of_places_and_content_is_of_labels_and_a_hundred_inputs() -> None:
    whole = two(validation_from=1, test_from=3)
    assert whole.parts == {"validation": range(1, 3), "test": range(3, 4)}
    assert two(test_from=4).parts == {}
    assert two(validation_from=2).parts == {"validation": range(2, 4)}
    assert (whole.memory, whole.input_shape) == ("resident", (3,))
    many = two(inputs=torch.arange(1000.0).view(1000, 1), labels=torch.arange(1000) % 2)
    changed = many.inputs.clone()
    assert isinstance(changed, torch.Tensor)
    contents = {many.content}
    for place in (0, 999):
        other = changed.clone()
        other[place] += 1
        contents.add(two(inputs=other, labels=many.labels).content)
    contents.add(two(inputs=changed, labels=1 - many.labels).content)
    contents.add(two(inputs=changed, labels=many.labels, classes=("a", "c")).content)
    assert len(contents) == 5
    assert all(len(one) == 16 for one in contents)
