"""Parts of a data set: how many, which, in which order, and what is refused; counts by hand, orders by torch alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ressearch.data import Dataset, Split, Splits, split
from ressearch.data.parts import arrange, part_of, require_train, said, shards, starts
from ressearch.errors import DataError


def numbered(counts: tuple[int, ...], **fields: Any) -> Dataset:
    """Examples whose one feature is their place; the classes lie one after another."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    names = tuple("abcdef"[: len(counts)])
    return Dataset("numbered", torch.arange(float(len(labels))).view(-1, 1), labels, names, "", **fields)


def places(parts: Splits) -> list[list[int]]:
    return [part.inputs.flatten().long().tolist() for part in (parts.train, parts.validation, parts.test)]


def drawn(counts: tuple[int, ...], seed: int) -> list[list[int]]:
    """The places of each class in the order in which torch shuffles them, one class after the other."""
    generator, at, found = torch.Generator().manual_seed(seed), 0, []
    for count in counts:
        found.append((at + torch.randperm(count, generator=generator)).tolist())
        at += count
    return found


@pytest.mark.parametrize("seed", [0, 9])
@pytest.mark.parametrize(
    ("shares", "ends"),
    [
        ({}, [(2, 4), (5, 10)]),  # a fifth each of 10 and of 25
        ({"validation": 0.3, "test": 0.1}, [(1, 4), (2, 10)]),  # 2.5 is rounded to even
        ({"test": 0.5}, [(5, 7), (12, 18)]),  # 12.5; and 0.7 of 25 is 17.5
        ({"validation": 0.5}, [(2, 7), (5, 18)]),
    ],
)
def test_the_first_of_each_shuffled_class_are_the_test_part_then_validation_then_training(
    seed: int, shares: dict[str, float], ends: list[tuple[int, int]]
) -> None:
    expected: list[list[int]] = [[], [], []]
    for order, (first, second) in zip(drawn((10, 25), seed), ends, strict=True):
        for part, some in zip(expected, (order[second:], order[first:second], order[:first]), strict=True):
            part += some
    found = split(numbered((10, 25)), seed, **shares)
    assert places(found) == [sorted(part) for part in expected]
    arrays = [np.array(sorted(part), dtype=np.int64).tobytes() for part in expected]
    assert found.fingerprint == hashlib.sha256(b"|".join(arrays)).hexdigest()[:16]
    assert found.train.labels.tolist() == [int(place >= 10) for place in sorted(expected[0])]


@pytest.mark.parametrize(
    ("kept", "counts"),
    [
        ({"fraction": 0.5}, [3, 8]),  # of 6 and 15: 7.5 is rounded to even
        ({"fraction": 0.01}, [1, 1]),
        ({"fraction": 1.0}, [6, 15]),
        ({"per_class": 4}, [4, 4]),
        ({"per_class": 6}, [6, 6]),
        ({"fraction": 0.5, "per_class": 3}, [3, 3]),
    ],
)
def test_the_first_training_examples_of_each_class_are_kept(kept: dict[str, Any], counts: list[int]) -> None:
    orders = drawn((10, 25), 3)
    expected = sorted(orders[0][4 : 4 + counts[0]] + orders[1][10 : 10 + counts[1]])
    whole, found = split(numbered((10, 25)), 3), split(numbered((10, 25)), 3, **kept)
    assert places(found)[0] == expected
    assert places(found)[1:] == places(whole)[1:]


@pytest.mark.parametrize(
    ("published", "shares", "expected"),
    [
        ({"test_from": 16}, {}, [None, None, range(16, 20)]),
        ({"test_from": 16, "validation_from": 12}, {}, [range(12), range(12, 16), range(16, 20)]),
        ({"validation_from": 16}, {}, [None, range(16, 20), None]),
        ({"test_from": 16, "validation_from": 12}, {"test": 0.2}, [None, range(12, 16), None]),
        ({"test_from": 16, "validation_from": 12}, {"validation": 0.2}, [None, None, range(16, 20)]),
        ({"test_from": 16, "validation_from": 12}, {"validation": 0.2, "test": 0.2}, [None, None, None]),
    ],
)
def test_published_parts_are_taken_whole_unless_a_share_is_asked_for(
    published: dict[str, int], shares: dict[str, float], expected: list[range | None]
) -> None:
    data = numbered((20,), **published)
    data = Dataset("p", data.inputs, torch.arange(20) % 2, ("a", "b"), "", **published)
    found = places(split(data, 5, **shares))
    assert sorted(place for part in found for place in part) == list(range(20))
    fixed: set[int] = set()
    for part, places_ in zip(found, expected, strict=True):
        if places_ is not None:
            assert part == list(places_)
            fixed |= set(places_)
    free = 20 - len(fixed)
    for part, places_ in zip(found[1:], expected[1:], strict=True):
        if places_ is None:
            assert len(part) == 2 * round(free / 2 * 0.2)


@pytest.mark.parametrize(
    ("counts", "arguments", "message"),
    [
        ((1, 9), {"test": 0.6}, "the train part has no example of class 'a'"),
        ((9, 2), {"test": 0.6, "validation": 0.3}, "the train part has no example of class 'b'"),
        ((2, 2), {}, "the test part is empty (4 examples, validation 0.2, test 0.2)"),
        ((8, 8), {"test": 0.05}, "the test part is empty (16 examples, validation 0.2, test 0.05)"),
        ((10, 25), {"per_class": 7}, "per_class 7, but class 'a' has 6 training examples"),
        ((40, 25), {"per_class": 16}, "per_class 16, but class 'b' has 15 training examples"),
        ((10, 25), {"per_class": 4, "fraction": 0.5}, "per_class 4, but class 'a' has 3 training examples"),
    ],
)
def test_parts_that_cannot_be_are_refused(counts: tuple[int, ...], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as refused:
        split(numbered(counts), 0, **arguments)
    assert str(refused.value) == f"data set 'numbered': {message}"


def test_an_empty_part_beside_a_published_one_is_refused_with_both() -> None:
    data = Dataset("p", torch.zeros(8, 1), torch.arange(8) % 2, ("a", "b"), "", test_from=6)
    with pytest.raises(DataError) as refused:
        split(data, 0, validation=0.01)
    said_ = "the validation part is empty (8 examples, validation 0.01, test published)"
    assert str(refused.value) == f"data set 'p': {said_}"


def test_a_part_is_read_by_positions_of_its_own() -> None:
    pool = torch.arange(24.0).view(8, 3)
    some = Split(pool, torch.tensor([0, 1, 0]), torch.tensor([6, 1, 3]))
    whole = Split(pool, torch.arange(8))
    assert (len(some), len(whole), some.input_shape) == (3, 8, (3,))
    assert some.inputs.tolist() == pool[[6, 1, 3]].tolist()
    assert whole.inputs is pool
    for chosen, rows in ((slice(None), [6, 1, 3]), (slice(1, 9), [1, 3]), (torch.tensor([2, 0, 2]), [3, 6, 3])):
        assert some.load(chosen).tolist() == pool[rows].tolist()
    for chosen, rows in ((slice(2, 4), [2, 3]), (torch.tensor([7, 0]), [7, 0])):
        assert whole.load(chosen).tolist() == pool[rows].tolist()


def test_a_part_moves_to_another_device_alone_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = torch.arange(12_000, dtype=torch.uint8).view(-1, 1).expand(-1, 2)
    some = Split(pool, torch.zeros(9000), torch.arange(1000, 10_000))
    assert some.to(torch.device("cpu")) is some
    loaded: list[Any] = []
    load = Split.load
    monkeypatch.setattr(Split, "load", lambda self, chosen: loaded.append(chosen) or load(self, chosen).to("meta"))
    moved = some.to(torch.device("meta"))
    assert isinstance(moved.pool, Tensor)
    assert (tuple(moved.pool.shape), moved.pool.dtype, moved.pool.device.type) == ((9000, 2), torch.uint8, "meta")
    assert (moved.labels.device.type, moved.places) == ("meta", None)
    assert loaded == [slice(0, 4096), slice(4096, 8192), slice(8192, 12288)]


def test_moments_are_those_that_are_given_else_of_the_training_part() -> None:
    pool = torch.tensor([[1.0], [3.0], [100.0]])
    part = Split(pool, torch.zeros(3))
    mean, std = torch.tensor([7.0]), torch.tensor([8.0])
    given = Splits(part, part, part, mean, std)
    assert (given.mean, given.std, given.fingerprint) == (mean, std, "")
    for halves in ((mean, None), (None, std)):
        found = Splits(Split(pool, torch.zeros(2), torch.tensor([0, 1])), part, part, *halves)
        assert (found.mean.tolist(), found.std.tolist()) == ([2.0], [pytest.approx(2**0.5)])
    whole = Splits(part, part, part)
    assert whole.mean.item() == pytest.approx(104 / 3)
    moved = Splits(part, part, part, mean, std, "f").to(torch.device("meta"))
    assert (moved.train.pool.device.type, moved.validation.pool.device.type) == ("meta", "meta")  # type: ignore[union-attr]
    assert moved.test is part
    assert (moved.mean.device.type, moved.std.device.type, moved.fingerprint) == ("meta", "meta", "f")


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("train/a/1.png", "train"),
        ("a/Training/1.png", "train"),
        ("valid/1.png", "validation"),
        ("VAL/1.png", "validation"),
        ("testing/train-1.png", "test"),  # directories first
        ("a/data-train-00000-of-00002.parquet", "train"),
        ("a/my_val.csv", "validation"),
        ("a/x.test.tar", "test"),
        ("a/the test set.csv", "test"),
        ("a/Train.csv", "train"),
        ("a/training1.csv", None),
        ("a/constraint.csv", None),
        ("trainer/1.png", None),
    ],
)
def test_a_file_belongs_to_the_part_that_a_directory_or_word_names(path: str, part: str | None) -> None:
    assert part_of(Path("/root/train") / path, Path("/root/train")) == part
    assert part_of(Path("/root/test/up.csv"), Path("/root/train")) is None  # not below it: by its name alone
    assert part_of(Path("/root/test/a_train.csv"), Path("/root/test/a_train.csv")) == "train"


def test_parts_are_read_in_order_and_validation_alone_is_the_test_part() -> None:
    for given, expected in (
        ({"test": 3, "train": 1}, {"train": 1, "test": 3}),
        ({"validation": 2, "train": 1}, {"train": 1, "test": 2}),
        ({"test": 3, "validation": 2, "train": 1}, {"train": 1, "validation": 2, "test": 3}),
        ({"other": 4, "train": 1}, {"train": 1}),
        ({}, {}),
    ):
        assert list(arrange(given).items()) == list(expected.items())


def test_shards_are_parts_where_their_names_tell_two_apart() -> None:
    root = Path("/d")

    def named(*names: str) -> list[Path]:
        return [root / name for name in names]

    assert shards(named("a.tar", "b.tar"), root) == {"train": named("a.tar", "b.tar")}
    assert shards(named("test-0.tar", "test-1.tar"), root) == {"train": named("test-0.tar", "test-1.tar")}
    assert shards([], root) == {"train": []}
    given = named("test-0.tar", "train-0.tar", "train-1.tar", "val-0.tar")
    expected = {"train": given[1:3], "validation": given[3:], "test": given[:1]}
    assert list(shards(given, root).items()) == list(expected.items())
    for names, message in (
        (
            ("a.tar", "train-0.tar", "b.tar"),
            "/d/a.tar: belongs to no part, beside train-0.tar; "
            "have train, test or validation in every name, or in none",
        ),
        (("test.tar", "val.tar"), "/d: has a test and a validation part, but no train part"),
    ):
        with pytest.raises(DataError) as refused:
            shards(named(*names), root)
        assert str(refused.value) == message
    require_train({"train": 1}, "x")
    with pytest.raises(DataError, match=r"^x: has a test part, but no train part$"):
        require_train(["test"], "x")


def test_the_places_of_published_parts_follow_from_their_sizes() -> None:
    for counts, expected in (
        ({"train": 5, "validation": 3, "test": 2}, (8, 5)),
        ({"train": 5, "test": 2}, (5, None)),
        ({"train": 5, "validation": 3}, (None, 5)),
        ({"train": 5}, (None, None)),
    ):
        assert starts(counts) == expected
    assert said({"train": 5}) == said({}) == ""
    assert said({"train": 5000, "test": 2}) == "; published parts: 5,000 train, 2 test"
    assert said({"train": 5, "test": 2}, {"test": "val"}) == "; published parts: 5 train, 2 test (val)"
