"""What `ressearch data info` says of a data set: each figure by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_decoding import Memory, shaded

from ressearch.data import Dataset, Lazy, Options, from_arrays, registry
from ressearch.data.describe import describe
from ressearch.data.registry import dataset, keep_in_memory
from ressearch.data.splits import split
from ressearch.registry import unchanged


def test_numbers_are_described_with_their_first_three_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_in_memory", {})
    values = np.random.default_rng(0).normal(5, 2, (20, 4)).astype(np.float32)
    data = from_arrays(values, ["a", "b", "b", "b"] * 5, "mine")
    name = keep_in_memory(data)
    train = values[split(data, 0).train.places.numpy()].astype(np.float64)
    found = describe(name, Options())
    assert found.pop("mean") == pytest.approx(train.mean(0)[:3].tolist(), rel=1e-6)
    assert found.pop("std") == pytest.approx(train.std(0, ddof=1)[:3].tolist(), rel=1e-5)
    assert found == {
        "name": "memory:mine",
        "source": "arrays (mine)",
        "input_shape": [4],
        "examples": 20,
        "classes": {"a": 5, "b": 15},
        "memory": "resident",
        "has_test_part": False,
        "published_parts": [],
        "parts": {"train": 12, "validation": 4, "test": 4},
        "decoded_per_second": None,
    }


def test_images_decoded_when_needed_have_means_once_they_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(size=7)
    images = Lazy(Memory(shaded(10)), 3, None, (3, 4))
    data = Dataset("seen", images, torch.arange(10) % 2, ("a", "b"), "some", 8, 6)  # type: ignore[arg-type]
    monkeypatch.setattr(Memory, "identity", lambda self: "test_described")
    monkeypatch.setattr(Lazy, "throughput", lambda self: 123.0)
    registry._loaded.cache_clear()
    with unchanged():

        @dataset("seen")
        def seen(argument: str, given: Options) -> Any:
            assert given == options
            return data

        found = describe("seen", options)
        assert (found["mean"], found["std"]) == (None, None)
        assert split(data, 0).mean.flatten().tolist() == [2.5] * 3  # 0 to 5 are the training part
        found = describe("seen", options)
    registry._loaded.cache_clear()
    deviation = pytest.approx(float(np.repeat(np.arange(6.0), 12).std(ddof=1)))
    assert (found["mean"], found["std"]) == ([2.5] * 3, [deviation] * 3)
    assert (found["memory"], found["decoded_per_second"]) == ("decoded when needed", 123.0)
    assert (found["has_test_part"], found["published_parts"]) == (True, ["test", "validation"])
    assert (found["parts"], found["input_shape"]) == ({"train": 6, "validation": 2, "test": 2}, [3, 3, 4])
    assert (found["name"], found["source"], found["examples"]) == ("seen", "some", 10)
