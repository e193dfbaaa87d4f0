"""The columns of the tables: how a network becomes a row, and a row a network."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ressearch import Architecture
from ressearch.errors import StudyError
from ressearch.results.journal import _test
from ressearch.results.schema import _arrow_type, architecture_columns, architecture_of, is_open, macs_trained

NETWORK = Architecture(depths=(1,), widths=(4,))


def test_open_trials_and_macs_are_counted_as_written() -> None:
    statuses = ("running", "interrupted", "completed", "stopped", "diverged", "failed")
    assert [is_open({"status": one}) for one in statuses] == [True, True, False, False, False, False]
    assert macs_trained({"macs": 100, "seeds": [1, 2, 3]}, examples=10, epochs=4) == 3 * 100 * 10 * 4 * 3


INTS, FLOATS = pa.list_(pa.int64()), pa.list_(pa.float64())


def test_a_field_of_a_network_is_a_column_of_its_type() -> None:
    types = {field.name: _arrow_type(field) for field in dataclasses.fields(Architecture)}
    assert types == {
        **dict.fromkeys(("depths", "widths", "strides", "group_width", "kernel_size"), INTS),
        "bottleneck_ratio": FLOATS,
        **dict.fromkeys(("se_ratio", "dropout"), pa.float64()),
        **dict.fromkeys(("stem_width", "head_width"), pa.int64()),
        "zero_gamma": pa.bool_(),
        **dict.fromkeys(
            ("block", "se_position", "activation", "norm", "norm_order", "skip", "skip_options", "shortcut", "stem"),
            pa.string(),
        ),
    }


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (pa.int64(), [0, -(2**63), 2**63 - 1], [True, 1.0, "1", None, 2**63, -(2**63) - 1]),
        (pa.timestamp("ms", tz="UTC"), [0, 1_700_000_000_000], [1.5, "now", False]),
        (pa.float64(), [0, 1.5, float("nan")], [True, "1", None, 2**63]),
        (pa.bool_(), [True, False], [0, 1, None, "true"]),
        (pa.string(), ["", "a"], [3, None, ["a"]]),
        (INTS, [[], [1, 2]], [[1, "a"], [1.5], (1,), 1, None]),
        (FLOATS, [[], [1, 2.5]], [["a"], [None], 2.5]),
    ],
    ids=str,
)
def test_a_value_of_the_journal_is_of_its_columns_type(kind: pa.DataType, good: list[Any], bad: list[Any]) -> None:
    is_of_type = _test(kind)
    assert [is_of_type(value) for value in good] == [True] * len(good)
    assert [is_of_type(value) for value in bad] == [False] * len(bad)


def test_columns_hold_lists_where_a_field_may_be_one() -> None:
    network = Architecture(
        "bottleneck", (1, 2), (8, 16), bottleneck_ratio=0.5, group_width=(2, 4), se_ratio=0.25, skip="scaled"
    )
    columns = architecture_columns(network)
    assert columns["bottleneck_ratio"] == [0.5]
    assert columns["group_width"] == [2, 4]
    assert (columns["kernel_size"], columns["depths"], columns["se_ratio"]) == ([3], [1, 2], 0.25)
    assert columns["skip_options"] == '{"alpha": 0.2, "beta": 1.0}'
    assert (columns["head_width"], columns["zero_gamma"], columns["block"]) == (None, False, "bottleneck")
    assert architecture_of(columns) == network


def test_a_row_as_pandas_gives_it_is_a_network() -> None:
    columns = architecture_columns(Architecture(depths=(1,), widths=(4,), group_width=2, head_width=9))
    row = {
        **columns,
        "depths": np.array([1]),
        "widths": np.array([4]),
        "group_width": 2.0,
        "head_width": 9.0,
        "zero_gamma": np.bool_(False),
        "stem_width": float("nan"),
    }
    found = architecture_of(row)
    assert found == Architecture(depths=(1,), widths=(4,), group_width=2, head_width=9)
    assert (type(found.head_width), type(found.zero_gamma), type(found.group_width)) == (int, bool, int)
    for absent in ({}, {"head_width": None, "group_width": None, "se_ratio": None}):
        known = {key: value for key, value in columns.items() if key not in ("head_width", "group_width", "se_ratio")}
        assert architecture_of({**known, **absent}) == Architecture(depths=(1,), widths=(4,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": "unheard"}, "block: 'unheard' is unknown"),
        ({"skip_options": "{"}, "Expecting property name enclosed in double quotes"),
        ({"depths": [0]}, "depths: "),
        ({"widths": ["a"]}, "invalid literal for int() with base 10: 'a'"),
        ({"head_width": float("inf")}, "cannot convert float infinity to integer"),
    ],
)
def test_a_row_that_is_no_network_names_its_trial(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as caught:
        architecture_of({**architecture_columns(NETWORK), "trial": 7, **changes})
    assert str(caught.value).startswith(f"trial 7: what is on record is no network: {message}")
    with pytest.raises(StudyError, match=r"^trial None: "):
        architecture_of({**architecture_columns(NETWORK), **changes})
