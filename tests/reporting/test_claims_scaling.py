"""Scaling laws: found where they were put in, refused with a reason where the data cannot carry one."""

from __future__ import annotations

from typing import Any

import pytest
from made_tables import claimed, line

_DEPTHS = (4, 8, 16, 32, 64, 128)


def law(exponent: float = 0.7, floor: float = 0.1) -> dict[int, float]:
    return {depth: 1 - (floor + 0.4 * depth**-exponent) for depth in _DEPTHS}


def test_a_power_law_is_found_with_its_exponent_and_floor() -> None:
    (fit,) = claimed("scaling", line(law(), spread=0.0003))
    assert fit.subject == {"over": "depth", "held": "width"}
    assert fit.estimate == pytest.approx(0.7, abs=0.01)
    assert fit.low < 0.7 < fit.high
    assert fit.more["floor"] == pytest.approx(0.1, abs=0.002)
    assert fit.more["scale"] * fit.more["unit"] ** fit.more["exponent"] == pytest.approx(0.4, abs=0.01)
    assert fit.sentence == (
        "These networks: error falls with depth as 0.100 + 0.045·(depth/22.6)^-0.70; exponent 0.69 to 0.71, floor "
        "0.099 to "
        "0.101 (95 %). Fitted without the largest network, it predicts 0.113 there; obtained: 0.113."
    )
    held_out = fit.more["held_out"]
    assert held_out["predicted"] == pytest.approx(held_out["obtained"], abs=0.001)
    assert fit.n == 18


def test_each_size_that_is_known_has_its_own_law() -> None:
    table = line(law(), spread=0.0003, skip="none")
    found = claimed("scaling", table.assign(params=table["depth"] ** 2, macs=table["depth"] * 1000))
    assert [one.subject["over"] for one in found] == ["depth", "params", "macs"]
    assert found[1].estimate == pytest.approx(0.35, abs=0.01)
    assert "error falls with parameters as" in found[1].sentence
    assert "error falls with MACs as" in found[2].sentence


@pytest.mark.parametrize(
    ("means", "told", "reason"),
    [
        (law(), {"seeds": 1}, "with one seed per network nothing says how much of the curve is chance"),
        (dict.fromkeys(_DEPTHS, 0.5), {}, "the errors cannot be told from a constant"),
        (
            {**law(), 128: 0.5},
            {},
            "error does not fall throughout: it rises by 0.378 from its lowest to the largest",
        ),
    ],
)
def test_no_law_is_given_where_the_data_carry_none(means: dict[int, float], told: dict[str, Any], reason: str) -> None:
    (only,) = claimed("scaling", line(means, **told))
    assert only.sentence == f"These networks: no scaling law over depth is given, because {reason}."
    assert only.more["refused"] == reason
    assert (only.estimate, only.low, only.high) == (None, None, None)


def test_four_depths_are_too_few() -> None:
    (only,) = claimed("scaling", line({4: 0.5, 8: 0.6, 16: 0.65, 32: 0.67}))
    assert only.sentence == (
        "No scaling law is given: 4 depths are too few for a curve of three parameters; 5 are needed."
    )
    assert only.more == {"refused": "4 depths are too few for a curve of three parameters"}


def test_a_short_line_beside_a_long_one_is_refused_by_itself() -> None:
    found = claimed(
        "scaling", line(law(), spread=0.0003, skip="identity"), line({4: 0.5, 8: 0.6, 16: 0.65}, skip="none")
    )
    assert found[0].sentence == (
        "Plain networks: no scaling law over depth is given, because 3 sizes are too few for a curve of three "
        "parameters; 5 are needed."
    )
    assert found[1].estimate == pytest.approx(0.7, abs=0.01)


def test_without_lines_of_depth_there_is_nothing_to_fit() -> None:
    assert claimed("scaling", line({8: 0.8}, name="a")) == []
