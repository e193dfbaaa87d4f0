"""What a study file cannot say of a key: each refusal in its words, with the key to look at."""

from __future__ import annotations

from typing import Any

import pytest

from ressearch import SearchSpace
from ressearch.errors import SpaceError
from ressearch.spaces.domains import KEYS, read

CHOICES = [
    ("blok", "basic", "unknown key; did you mean 'block'?"),
    ("qqq", 1, f"unknown key; known: {', '.join(KEYS)}"),
    ("depth", [], "has no choices: the space is empty"),
    ("norm", (), "has no choices: the space is empty"),
    ("depth", [8] * 1001, "1001 choices are above 1000, the most there can be"),
    ("block", "basc", "'basc' is unknown; did you mean 'basic'?"),
    ("norm", ["batch", "qqq"], "'qqq' is unknown; known: batch, group, layer, none"),
    ("norm", 3, "3 is unknown; known: batch, group, layer, none"),
    ("norm_order", None, "None is unknown; known: post, pre"),
    ("norm_order", True, "True is unknown; known: post, pre"),
    ("norm_order", ["post", ["pre"]], "['pre'] is unknown; did you mean 'pre'?"),
    ("se_position", {"inner": 1}, "{'inner': 1} is unknown; known: inner, outer"),
    ("zero_gamma", "yes", "'yes' is not true or false"),
    ("zero_gamma", [True, 1], "1 is not true or false"),
    ("zero_gamma", [None], "None is not true or false"),
    ("depth", [[8, 14]], "[8, 14] is a list; expected one number"),
    ("se_ratio", [0.5, (0.25,)], "[0.25] is a list; expected one number"),
    ("depths", [], "[] is not a list of numbers, one per stage"),
    ("depths", [[1, 2], []], "[] is not a list of numbers, one per stage"),
    ("widths", [[8, None]], "[8, None] is not a list of numbers, one per stage"),
    ("kernel_size", [[3, [5]]], "[3, [5]] is not a list of numbers, one per stage"),
    ("depths", [1] * 17, "17 stages are above 16, the most there can be"),
    ("depth", None, "None is not a whole number of at least 1"),
    ("depth", "8", "'8' is not a whole number of at least 1"),
    ("depth", [8, True], "True is not a whole number of at least 1"),
    ("depth", 8.0, "8.0 is not a whole number of at least 1"),
    ("kernel_size", {"side": 3}, "{'side': 3} is not a whole number of at least 1"),
    ("depths", [1, 2.5], "2.5 is not a whole number of at least 1"),
    ("se_ratio", None, "None is not a number of at least 0"),
    ("dropout", "a", "'a' is not a number of at least 0"),
    ("bottleneck_ratio", [False], "False is not a number of at least 0"),
    ("wa", "x", "'x' is not a number of at least 0"),
    ("wm", "x", "'x' is not a number of at least 0"),
    ("width", 0, "0 is below 1"),
    ("width", [8, 65537], "65537 is above 65536, the most there can be"),
    ("se_ratio", -0.5, "-0.5 is below 0"),
    ("dropout", float("nan"), "nan is not a finite number"),
    ("dropout", 1.5, "1.5 is above 1, the most there can be"),
    ("widths", [8, 0], "0 is below 1"),
    ("group_width", [[8, 0]], "0 is below 1"),
    ("norm_order", {"pre": {}}, "{'pre': {}} is unknown; known: post, pre"),
]

RANGES = [
    ("block", {"low": 1, "high": 2}, "takes names, not a range; known: basic, single, bottleneck, dense_bottleneck, "),
    ("norm_order", {"low": 1, "high": 2}, "takes names, not a range; known: post, pre"),
    ("norm_order", {"low": 1}, "takes names, not a range; known: post, pre"),
    ("norm_order", {"high": 1}, "takes names, not a range; known: post, pre"),
    ("zero_gamma", {"low": 0, "high": 1}, "takes names, not a range; known: true, false"),
    ("depth", {"low": 8}, "the range has no 'high'"),
    ("depth", {"high": 8}, "the range has no 'low'"),
    ("depth", {"low": 8, "high": 9, "lag": True}, "'lag' is no part of a range; did you mean 'log'?"),
    ("depth", {"low": 8, "high": 9, "stp": True}, "'stp' is no part of a range; did you mean 'step'?"),
    ("depth", {"low": 8, "high": 9, "lw": True}, "'lw' is no part of a range; did you mean 'low'?"),
    ("depth", {"low": 8, "high": 9, "hgh": True}, "'hgh' is no part of a range; did you mean 'high'?"),
    ("depth", {"low": 8, "high": 9, "q": True}, "'q' is no part of a range; known: low, high, step, log"),
    ("depth", {"low": 8.0, "high": 9}, "low: 8.0 is not a whole number"),
    ("depth", {"low": 8, "high": "9"}, "high: '9' is not a whole number"),
    ("depth", {"low": True, "high": 9}, "low: True is not a whole number"),
    ("depth", {"low": None, "high": 9}, "low: None is not a whole number"),
    ("depth", {"low": 8, "high": None}, "high: None is not a whole number"),
    ("depth", {"low": 8, "high": 9, "step": 0.5}, "step: 0.5 is not a whole number"),
    ("depth", {"low": 8, "high": 9, "step": True}, "step: True is not a whole number"),
    ("se_ratio", {"low": "a", "high": 9}, "low: 'a' is not a number"),
    ("se_ratio", {"low": 0, "high": False}, "high: False is not a number"),
    ("se_ratio", {"low": 0, "high": 1, "step": "x"}, "step: 'x' is not a number"),
    ("depth", {"low": 0, "high": 9}, "low: 0 is below 1"),
    ("depth", {"low": 8, "high": 40001}, "high: 40001 is above 40000, the most there can be"),
    ("dropout", {"low": 0.1, "high": float("inf")}, "high: inf is not a finite number"),
    ("depth", {"low": 9, "high": 8}, "the range is upside down: low 9 is above high 8"),
    ("se_ratio", {"low": 0.5, "high": 0.25}, "the range is upside down: low 0.5 is above high 0.25"),
    ("depth", {"low": 8, "high": 9, "step": 0}, "step: 0 is not within 1e-09 and 1e+06"),
    ("depth", {"low": 8, "high": 9, "step": 1000001}, "step: 1000001 is not within 1e-09 and 1e+06"),
    ("se_ratio", {"low": 0, "high": 1, "step": 1e-10}, "step: 1e-10 is not within 1e-09 and 1e+06"),
    ("se_ratio", {"low": 0, "high": 1, "step": -1}, "step: -1 is not within 1e-09 and 1e+06"),
    ("depth", {"low": 8, "high": 9, "log": 1}, "log: 1 is not true or false"),
    ("depth", {"low": 8, "high": 9, "log": None}, "log: None is not true or false"),
    ("se_ratio", {"low": 0, "high": 9, "log": True}, "log needs a low above 0 and no step"),
    ("depth", {"low": 8, "high": 9, "log": True, "step": 2}, "log needs a low above 0 and no step"),
]

SKIP_OPTIONS = [
    ([{"scaled": 3}], "'scaled': expected its options, such as {name: value}, got 3"),
    ([{"scaled": [0.1]}], "'scaled': expected its options, such as {name: value}, got [0.1]"),
    ([{"scald": {}}], "'scald' is unknown; did you mean 'scaled'?"),
    ([{"scaled": {"alhpa": 0.1}}], "'alhpa' is no option of 'scaled'; did you mean 'alpha'?"),
    ([{"scaled": {"q": 0.1}}], "'q' is no option of 'scaled'; known: alpha, beta"),
    ([{"identity": {"alpha": 0.1}}], "'alpha' is no option of 'identity'; it has none"),
    ([{"scaled": {"alpha": "x"}}], "scaled.alpha: 'x' is not a number"),
    ([{"scaled": {"beta": [0.1, True]}}], "scaled.beta: True is not a number"),
    ([{"scaled": {"beta": (0.1, None)}}], "scaled.beta: None is not a number"),
    ([{"scaled": {"alpha": []}}], "scaled.alpha: 0 choices; expected 1 to 1000"),
    ([{"scaled": {"alpha": [0.1] * 1001}}], "scaled.alpha: 1001 choices; expected 1 to 1000"),
    ([{"scaled": {"alpha": 1e7}}], "scaled.alpha: 1e+07 is above 1e+06, the most there can be"),
    ([{"dense": {"growth_rate": [4, -1]}}], "dense.growth_rate: -1 is below 0"),
    ([{"dense": {"growth_rate": 4097}}], "dense.growth_rate: 4097 is above 4096, the most there can be"),
    ([{"dense": {"growth_rate": {"low": -1, "high": 4}}}], "dense.growth_rate: low: -1 is below 0"),
    ([{"scaled": {"alpha": {"low": 0.1}}}], "scaled.alpha: the range has no 'high'"),
    ([{"scaled": {"alpha": {"low": 2, "high": 1}}}], "scaled.alpha: the range is upside down: low 2 is above high 1"),
    ([{"scaled": {"alpha": {"low": 1, "high": 2, "step": "x"}}}], "scaled.alpha: step: 'x' is not a number"),
    ([{"scaled": {"alpha": {"low": "x", "high": 2, "step": 1}}}], "scaled.alpha: low: 'x' is not a number"),
]

MATCHES = [
    ({"match": "macs", "target": 9, "q": 1}, "'q' is no part of a matched width; known: match, target, tolerance"),
    ({"match": "macs", "targt": 9}, "'targt' is no part of a matched width; did you mean 'target'?"),
    ({"match": "macs", "tolrance": 9}, "'tolrance' is no part of a matched width; did you mean 'tolerance'?"),
    ({"match": "mac", "target": 9}, "match: 'mac' is unknown; did you mean 'macs'?"),
    ({"match": "flops", "target": 9}, "match: 'flops' is unknown; known: params, macs, activations"),
    ({"match": ["macs"], "target": 9}, "match: ['macs'] is unknown; did you mean 'macs'?"),
    ({"match": "params"}, "target: missing; a matched width needs a count such as 40M"),
    ({"match": "params", "target": "lots"}, "target: 'lots' is not a count such as 400000 or 40M"),
    *(
        ({"match": "macs", "target": 9, "tolerance": bad}, f"tolerance: {bad!r} is not a fraction between 0 and 1")
        for bad in (0, 1, 1.0, 0.0, -0.1, True, "0.1", None)
    ),
]


def refusal(key: str, value: Any) -> tuple[str, str | None]:
    with pytest.raises(SpaceError) as caught:
        read(key, value)
    return str(caught.value), caught.value.key


@pytest.mark.parametrize(("key", "value", "message"), CHOICES, ids=lambda value: str(value)[:25])
def test_what_is_no_choice_is_refused_in_these_words(key: str, value: Any, message: str) -> None:
    assert refusal(key, value) == (message, key)


@pytest.mark.parametrize(("key", "value", "message"), RANGES, ids=lambda value: str(value)[:45])
def test_what_is_no_range_is_refused_in_these_words(key: str, value: Any, message: str) -> None:
    said, where = refusal(key, value)
    assert where == key
    assert said.startswith(message) if message.endswith(", ") else said == message


@pytest.mark.parametrize(("value", "message"), SKIP_OPTIONS, ids=lambda value: str(value)[:45])
def test_what_is_no_option_of_a_skip_is_refused_in_these_words(value: Any, message: str) -> None:
    assert refusal("skip", value) == (message, "skip")


@pytest.mark.parametrize(("value", "message"), MATCHES, ids=lambda value: str(value)[:45])
def test_what_is_no_match_is_refused_in_these_words(value: Any, message: str) -> None:
    assert refusal("width", value) == (message, "width")


def test_only_the_width_is_matched() -> None:
    assert refusal("depth", {"match": "macs", "target": 9}) == ("only 'width' can be matched to a cost", "depth")
    assert refusal("widths", {"match": "macs", "target": 9}) == ("only 'width' can be matched to a cost", "widths")


@pytest.mark.parametrize(
    ("parameters", "key", "message"),
    [
        ({}, None, "the space is empty: name at least one choice, such as depth: [8, 20]"),
        ([8], None, "the space is empty: name at least one choice, such as depth: [8, 20]"),
        ({"depth": 8, "depths": [1, 1, 1]}, "depths", "depth and depths say the same thing: keep one"),
        ({"depth": 8, "blocks_per_stage": 1}, "blocks_per_stage", "depth and blocks_per_stage say the same thing: "),
        ({"depths": [1], "blocks_per_stage": 1}, "depths", "blocks_per_stage and depths say the same thing: keep one"),
        ({"widths": [8], "width": 1}, "widths", "width and widths say the same thing: keep one"),
        *(
            ({key: 8, other: 8}, other, f"{key} and {other} say the same thing: keep one")
            for key in ("w0", "wa", "wm")
            for other in ("depths", "blocks_per_stage", "width", "widths")
        ),
        *(
            (
                {key: 8 for key in ("w0", "wa", "wm", "depth") if key != left_out},
                left_out,
                f"RegNet's widths need w0, wa, wm and depth (blocks); '{left_out}' is missing",
            )
            for left_out in ("w0", "wa", "wm", "depth")
        ),
        ({"wm": 8}, "w0", "RegNet's widths need w0, wa, wm and depth (blocks); 'w0' is missing"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_keys_that_do_not_go_together_are_refused_in_these_words(parameters: Any, key: Any, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        SearchSpace(parameters)
    assert caught.value.key == key
    assert str(caught.value).startswith(message) if message.endswith(": ") else str(caught.value) == message
