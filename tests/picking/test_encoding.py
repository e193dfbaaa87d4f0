"""Networks as numbers: what differs between trained networks is told, once, in units of its spread."""

from __future__ import annotations

import numpy as np
import pytest

from ressearch import Architecture, SearchSpace, cost
from ressearch.picking.encoding import Encoding, Networks
from ressearch.spaces.columns import columns

SHAPE = (3, 16, 16)


def encoded(*networks: Architecture) -> tuple[Encoding, dict[str, list[float]]]:
    """An encoding of networks, and its columns before scaling."""
    described = Networks.of(networks, SHAPE, 10)
    encoding = Encoding.fit(described)
    raw = encoding.encode(described) * encoding.scale + encoding.centre
    return encoding, {name: raw[:, at].round(9).tolist() for at, name in enumerate(encoding.names)}


def log(*numbers: float) -> list[float]:
    return np.log(numbers).round(9).tolist()


def test_costs_come_first_and_are_in_logs() -> None:
    networks = [Architecture(depths=(1, 1), widths=(4, width)) for width in (4, 9, 5)]
    encoding, found = encoded(*networks)
    prices = [cost(one, SHAPE, 10) for one in networks]
    assert encoding.names == ("log macs", "log params", "log width of stage 2")
    assert found["log macs"] == log(*(one.macs for one in prices))
    assert found["log params"] == log(*(one.params for one in prices))
    assert found["log width of stage 2"] == log(4, 9, 5)


def test_blocks_and_widths_of_stages_are_told_apart() -> None:
    networks = [Architecture(depths=depths, widths=(4, 8)) for depths in ((1, 4), (3, 2), (2, 2), (5, 1))]
    _, found = encoded(*networks)
    assert found["log blocks"] == log(5, 5, 4, 6)
    assert found["log blocks of stage 1"] == log(1, 3, 2, 5)
    assert found["log blocks of stage 2"] == log(4, 2, 2, 1)
    assert not {name for name in found if "width" in name}


def test_what_goes_together_is_told_once() -> None:
    networks = [Architecture(depths=(n, n), widths=(w, 2 * w)) for n, w in ((1, 4), (2, 8), (3, 4), (5, 6))]
    encoding, found = encoded(*networks)
    assert encoding.names == ("log macs", "log params", "log blocks", "log width")
    assert found["log width"] == log(4, 8, 4, 6)


def test_numbers_of_stages_that_differ_are_a_column_and_stages_have_none() -> None:
    networks = [Architecture(depths=(1,) * n, widths=(w,) * n) for n, w in ((2, 4), (3, 8), (2, 6), (4, 4))]
    encoding, found = encoded(*networks)
    assert found["stages"] == [2, 3, 2, 4] or found["log blocks"] == log(2, 3, 2, 4)
    assert not any("of stage" in name for name in encoding.names)
    other = Networks.of([Architecture(depths=(1,) * n, widths=(4,) * n) for n in (1, 2, 3, 4, 5)], SHAPE)
    assert encoding.is_foreign(other).tolist() == [True, False, False, False, True]


def test_choices_are_indicators_and_new_ones_are_foreign() -> None:
    fields = [{}, {"skip": "none"}, {"skip": "rezero"}, {"norm": "group"}]
    networks = [Architecture(depths=(n,), widths=(8,), **one) for n in (1, 2) for one in fields]  # type: ignore[arg-type]
    encoding, found = encoded(*networks)
    assert found["skip none"] == [0, 1, 0, 0] * 2
    assert found["skip rezero"] == [0, 0, 1, 0] * 2
    assert "skip identity" not in found
    assert found["norm group"] == [0, 0, 0, 1] * 2
    news = [{"skip": "scaled"}, {"norm": "none"}, {"norm": "group", "skip": "none"}, {"strides": (2,)}]
    unseen = [Architecture(depths=(1,), widths=(8,), **one) for one in news]  # type: ignore[arg-type]
    assert encoding.is_foreign(Networks.of(unseen, SHAPE)).tolist() == [True, True, False, True]


def test_numbers_are_columns_in_logs_where_they_are_sizes() -> None:
    fields = [
        {"kernel_size": 3, "se_ratio": 0.25},
        {"kernel_size": (3, 5), "se_ratio": 0.5},
        {"group_width": 4, "dropout": 0.25},
        {"group_width": 2, "head_width": 6, "bottleneck_ratio": (0.5, 2.0)},
        {"bottleneck_ratio": 0.5},
    ]
    networks = [Architecture(depths=(1, 1), widths=(8, 8), **one) for one in fields]  # type: ignore[arg-type]
    _, found = encoded(*networks)
    assert found["kernel_size"] == pytest.approx([np.log(3), np.log(15) / 2, np.log(3), np.log(3), np.log(3)])
    assert found["se_ratio"] == [0.25, 0.5, 0, 0, 0]
    assert found["dropout"] == [0, 0, 0.25, 0, 0]
    assert found["group_width none"] == [1, 1, 0, 0, 1]
    assert found["group_width"] == pytest.approx([0, 0, np.log(4), np.log(2), 0])
    assert found["head_width none"] == [1, 1, 1, 0, 1]
    assert found["bottleneck_ratio"] == pytest.approx([0, 0, 0, 0, np.log(0.5)])


def test_options_of_skips_are_columns() -> None:
    networks = [Architecture(depths=(1,), widths=(8,), skip="scaled", skip_options={"alpha": a}) for a in (0.1, 0.7)]  # type: ignore[arg-type]
    _, found = encoded(*networks, Architecture(depths=(1,), widths=(8,)), Architecture(depths=(2,), widths=(8,)))
    assert found["alpha"] == [0.1, 0.7, 0, 0]
    assert found["skip scaled"] == [1, 1, 0, 0]


def test_columns_are_scaled_by_the_trained_networks() -> None:
    networks = [Architecture(depths=(n, 1), widths=(4, w)) for n, w in ((1, 4), (2, 9), (3, 30), (9, 5))]
    described = Networks.of(networks, SHAPE, 10)
    scaled = Encoding.fit(described).encode(described)
    assert np.allclose(scaled.mean(0), 0)
    assert np.allclose(scaled.std(0), 1)


def test_equal_networks_have_no_columns() -> None:
    assert encoded(Architecture(depths=(1,)), Architecture(depths=(1,)))[0].names == ()


def test_columns_of_a_space_are_encoded_as_their_architectures_are() -> None:
    scaled = {"scaled": {"alpha": {"low": 0.1, "high": 1.0}}}
    parameters = {
        "depths": {"low": 1, "high": 3},
        "widths": {"low": 4, "high": 8, "step": 2},
        "skip": ["none", scaled, "dense"],
        "kernel_size": [3, 5],
        "stages": [2, 3],
    }
    found = columns(SearchSpace(parameters, input_shape=SHAPE), 80)
    networks = [found.architecture(row) for row in range(len(found))]
    encoding = Encoding.fit(Networks.of(networks[:40], SHAPE))
    together, alone = Networks.of(found), Networks.of(networks, SHAPE)
    assert np.allclose(encoding.encode(together), encoding.encode(alone))
    assert np.array_equal(encoding.is_foreign(together), encoding.is_foreign(alone))
    assert len(together) == len(alone) == len(found)
