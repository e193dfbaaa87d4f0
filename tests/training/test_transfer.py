"""The maximal update parametrisation: every factor of small networks, by hand from its table."""

from __future__ import annotations

from typing import Any

import pytest

from ressearch import Architecture
from ressearch.errors import ArchitectureError
from ressearch.training.transfer import mup

# Three times as wide as the base: inputs, biases and norms take 3 with SGD; hidden ones 1; the classifier 1 / 3.
# With Adam hidden ones and the classifier take 1 / 3, the others 1 (Yang et al. 2021, Table 3).
ROLES = {
    "mlp": {
        "stem.0.weight": "input",
        "stem.0.bias": "input",
        "stages.0.0.branch.0.weight": "input",  # a norm
        "stages.0.0.branch.0.bias": "input",
        "stages.0.0.branch.1.weight": "hidden",
        "stages.0.0.branch.1.bias": "input",
        "stages.0.0.branch.3.weight": "hidden",
        "stages.0.0.branch.3.bias": "input",
        "head.0.weight": "input",
        "head.0.bias": "input",
        "head.3.weight": "output",
        "head.3.bias": "fixed",
    },
    "basic": {
        "stem.0.weight": "input",
        "stem.1.weight": "input",
        "stem.1.bias": "input",
        "stages.0.0.branch.0.weight": "hidden",
        "stages.0.0.branch.1.weight": "input",
        "stages.0.0.branch.1.bias": "input",
        "stages.0.0.branch.3.weight": "hidden",
        "stages.0.0.branch.4.weight": "input",
        "stages.0.0.branch.4.bias": "input",
        "head.1.weight": "output",
        "head.1.bias": "fixed",
    },
}
FACTORS = {
    "sgd": {"input": 3.0, "hidden": 1.0, "output": 1 / 3, "fixed": 1.0},
    "adamw": {"input": 1.0, "hidden": 1 / 3, "output": 1 / 3, "fixed": 1.0},
}


@pytest.mark.parametrize("optimizer", FACTORS)
@pytest.mark.parametrize("block", ROLES)
def test_every_factor_is_that_of_the_table(block: str, optimizer: str) -> None:
    scaling = mup(Architecture(block, (1,), (12,)), 4, optimizer, 5, 7)
    expected = {name: FACTORS[optimizer][role] for name, role in ROLES[block].items()}
    assert scaling.lr == pytest.approx(expected)
    assert scaling.classifier == pytest.approx(3**-0.5)


def test_a_network_of_the_base_width_is_left_as_it_is() -> None:
    scaling = mup(Architecture("mlp", (1, 1), (4, 8), head_width=6), 4, "sgd", 5, 3)
    assert set(scaling.lr.values()) == {1.0}
    assert scaling.classifier == 1.0


HIDDEN = {
    "stages.0.0.branch.0.weight",
    "stages.0.0.branch.2.weight",
    "stages.0.0.shortcut.0.weight",
    "stages.1.0.branch.0.weight",
    "stages.1.0.branch.2.weight",
    "stages.1.0.shortcut.0.weight",
    "head.2.weight",
    "head.6.weight",
}


def test_stem_stages_and_head_keep_their_ratio_to_the_first_stage() -> None:
    wide = Architecture("mlp", (1, 1), (4, 12), stem_width=2, head_width=10)
    scaling = mup(wide, 2, "adamw", 5, 3)
    assert {name: factor for name, factor in scaling.lr.items() if factor != 1} == dict.fromkeys(HIDDEN, 0.5)
    assert scaling.classifier == pytest.approx(2**-0.5)
    narrow = mup(wide.replace(head_width=None), 8, "adamw", 5, 3)  # a base that is wider
    assert narrow.classifier == pytest.approx(2**0.5)
    assert narrow.lr["head.3.weight"] == 2.0


def test_the_classifier_decides_its_own_start_whatever_is_widest_before_it() -> None:
    """Of head's parameters the last weight counts: with a head of one width more, that of its output."""
    scaling = mup(Architecture("mlp", (1,), (8,), head_width=24), 2, "sgd", 5, 3)
    assert scaling.lr["head.6.weight"] == pytest.approx(1 / 4)
    assert scaling.classifier == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "base_width", "message"),
    [
        ({"widths": (4, 6)}, 1, "widths: lr.base_width makes 1.5 channels of a stage; expected whole ones"),
        ({"widths": (4, 1)}, 1, "widths: lr.base_width makes 0.25 channels of a stage; expected whole ones"),
        ({"widths": (3, 6)}, 2, None),
        (
            {"widths": (4, 8), "stem_width": 5},
            2,
            "stem_width: lr.base_width makes 2.5 channels of a stage; expected whole ones",
        ),
        (
            {"widths": (4, 8), "head_width": 7},
            2,
            "head_width: lr.base_width makes 3.5 channels of a stage; expected whole ones",
        ),
        (
            {"widths": (2**16, 1)},
            1,
            "widths: lr.base_width makes 1.52588e-05 channels of a stage; expected whole ones",
        ),
        (
            {"widths": (2**16, 2**16 - 1)},
            2**16 - 1,
            "widths: lr.base_width makes 65534 channels of a stage; expected whole ones",  # and 0.00002
        ),
    ],
)
def test_a_base_of_no_whole_channels_is_refused(changes: dict[str, Any], base_width: int, message: str | None) -> None:
    fields = {"block": "mlp", "depths": (1, 1), **changes}
    if message is None:
        mup(Architecture(**fields), base_width, "sgd", 5, 3)
        return
    with pytest.raises(ArchitectureError) as refused:
        mup(Architecture(**fields), base_width, "sgd", 5, 3)
    assert str(refused.value) == message


@pytest.mark.parametrize("width", [1, 3, 49, 93, 98, 103])
def test_a_base_of_one_channel_is_whole_whatever_rounding_makes_of_it(width: int) -> None:
    """1 / 49 x 49 is less than 1 in floating point."""
    scaling = mup(Architecture("mlp", (1,), (width,)), 1, "sgd", 5, 3)
    assert scaling.classifier == pytest.approx(width**-0.5)
