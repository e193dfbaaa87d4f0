"""Rules on which choices go together, and what a refusal says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ressearch.errors import ArchitectureError
from ressearch.networks.compatibility import NO_PIXELS, Rule, check, never, only


def test_only_allows_its_values_and_never_all_others() -> None:
    inner = only("norm", "none", "layer", because="of this")
    outer = never("norm", "none", "layer", because="of that")
    assert inner == Rule("norm", ("none", "layer"), False, "of this")
    assert outer == Rule("norm", ("none", "layer"), True, "of that")
    assert [inner.allows(value) for value in ("none", "layer", "batch")] == [True, True, False]
    assert [outer.allows(value) for value in ("none", "layer", "batch")] == [False, False, True]


@pytest.mark.parametrize(
    ("rule", "value", "said"),
    [
        (
            only("norm", "none", because="R"),
            "batch",
            "norm: 'batch' is not compatible with skip 'x': R; expected 'none'",
        ),
        (
            only("norm", "none", "layer", because="R"),
            "batch",
            "norm: 'batch' is not compatible with skip 'x': R; expected 'none' or 'layer'",
        ),
        (never("norm", "batch", "none", because="R"), "batch", "norm: 'batch' is not compatible with skip 'x': R"),
        (only("width", None, because="R"), 4, "width: '4' is not compatible with skip 'x': R; expected null"),
        (only("rate", 0.0, 0.25, because="R"), 1.0, "rate: 1 is not compatible with skip 'x': R; expected 0 or 0.25"),
        (only("rate", 0.5, because="R"), None, "rate: null is not compatible with skip 'x': R; expected 0.5"),
    ],
)
def test_a_refusal_names_both_choices_the_reason_and_what_to_use(rule: Rule, value: object, said: str) -> None:
    fields = SimpleNamespace(**{rule.field: value})
    with pytest.raises(ArchitectureError) as refused:
        check(fields, [("skip", "x", (rule,))])
    assert str(refused.value) == said


def test_every_rule_of_every_side_is_held() -> None:
    fields = SimpleNamespace(norm="batch", stem="cifar")
    fine, bad = only("norm", "batch", because="R"), never("stem", "cifar", because="S")
    check(fields, [("skip", "x", (fine,)), ("block", "y", (fine, fine))])
    check(fields, [])
    for sides in ([("skip", "x", (fine,)), ("block", "y", (fine, bad))], [("block", "y", (bad,)), ("skip", "x", ())]):
        with pytest.raises(ArchitectureError, match=r"^stem: 'cifar' is not compatible with block 'y': S$"):
            check(fields, sides)


def test_blocks_without_pixels_refuse_what_needs_them() -> None:
    allowed = SimpleNamespace(kernel_size=1, se_ratio=0.0, shortcut="projection")
    check(allowed, [("block", "mlp", NO_PIXELS)])
    refused = {"kernel_size": 3, "se_ratio": 0.5, "shortcut": "avgpool_projection"}
    for key, value in refused.items():
        with pytest.raises(ArchitectureError, match=f"^{key}: "):
            check(SimpleNamespace(**{**vars(allowed), key: value}), [("block", "mlp", NO_PIXELS)])
