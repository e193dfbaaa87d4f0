"""The columns of the tables: how a network becomes a row, and a row a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ressearch import Architecture
from ressearch.errors import StudyError
from ressearch.results.schema import architecture_columns, architecture_of, is_open, macs_trained

NETWORK = Architecture(depths=(1,), widths=(4,))


def test_open_trials_and_macs_are_counted_as_written() -> None:
    statuses = ("running", "interrupted", "completed", "stopped", "diverged", "failed")
    assert [is_open({"status": one}) for one in statuses] == [True, True, False, False, False, False]
    assert macs_trained({"macs": 100, "seeds": [1, 2, 3]}, examples=10, epochs=4) == 3 * 100 * 10 * 4 * 3


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
