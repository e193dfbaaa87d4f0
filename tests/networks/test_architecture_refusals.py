"""What an Architecture refuses, word for word: each field with its value and what was expected."""

from __future__ import annotations

from typing import Any

import pytest

from ressearch import Architecture
from ressearch.errors import ArchitectureError

DENSE = {"block": "single", "depths": (2, 3), "norm_order": "pre", "skip": "dense", "skip_options": {"growth_rate": 6}}

FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"block": "botleneck"}, "block: 'botleneck' is unknown; did you mean 'bottleneck'?"),
    ({"se_position": "iner"}, "se_position: 'iner' is unknown; did you mean 'inner'?"),
    ({"activation": 3}, "activation: 3 is unknown; known: relu, silu, gelu"),
    ({"activation": ["relu"]}, "activation: ['relu'] is unknown; did you mean 'relu'?"),
    ({"norm": "bach"}, "norm: 'bach' is unknown; did you mean 'batch'?"),
    ({"norm_order": "past"}, "norm_order: 'past' is unknown; did you mean 'post'?"),
    ({"skip": "identiy"}, "skip: 'identiy' is unknown; did you mean 'identity'?"),
    ({"shortcut": "projecton"}, "shortcut: 'projecton' is unknown; did you mean 'projection'?"),
    ({"stem": "cifer"}, "stem: 'cifer' is unknown; did you mean 'cifar'?"),
    ({"depths": 3}, "depths: 3 is not a list of whole numbers, one per stage"),
    ({"depths": ()}, "depths: () is not a list of whole numbers, one per stage"),
    ({"depths": (1,) * 17}, "depths: 17 stages are above 16, the most there can be"),
    ({"depths": (3, 0)}, "depths: 0 is not a whole number of at least 1"),
    ({"depths": (True,)}, "depths: True is not a whole number of at least 1"),
    ({"depths": (2.0,)}, "depths: 2.0 is not a whole number of at least 1"),
    ({"depths": (10_001,)}, "depths: 10001 is above 10000, the most there can be"),
    ({"depths": (5000, 5001)}, "depths: 10001 blocks are above 10000, the most there can be"),
    ({"widths": "16"}, "widths: '16' is not a list of whole numbers, one per stage"),
    ({"widths": (16, 32, 65_537)}, "widths: 65537 is above 65536, the most there can be"),
    ({"widths": (16, 32)}, "widths: [16, 32] has 2 stages, depths [3, 3, 3] has 3"),
    ({"strides": (1, 2)}, "strides: [1, 2] has 2 stages, depths [3, 3, 3] has 3"),
    ({"strides": (1, 2, 65)}, "strides: 65 is above 64, the most there can be"),
    ({"strides": 2}, "strides: 2 is not a list of whole numbers, one per stage"),
    ({"kernel_size": 2}, "kernel_size: 2 is even; expected an odd side"),
    ({"kernel_size": (3, 4, 3)}, "kernel_size: 4 is even; expected an odd side"),
    ({"kernel_size": 3.0}, "kernel_size: 3.0 is not a whole number of at least 1"),
    ({"kernel_size": 257}, "kernel_size: 257 is above 255, the most there can be"),
    ({"bottleneck_ratio": -1}, "bottleneck_ratio: -1 is below 0.000976562"),
    ({"bottleneck_ratio": 65}, "bottleneck_ratio: 65 is above 64, the most there can be"),
    ({"bottleneck_ratio": "wide"}, "bottleneck_ratio: 'wide' is not a number"),
    ({"bottleneck_ratio": (1, 2)}, "bottleneck_ratio: [1, 2] has 2 stages, not 3"),
    ({"bottleneck_ratio": (1, [2], 1)}, "bottleneck_ratio: [1, [2], 1] is a list of lists; expected one number per "
     "stage"),
    ({"bottleneck_ratio": (1, None, 1)}, "bottleneck_ratio: [1, None, 1] leaves a stage open; expected one number per "
     "stage"),
    ({"group_width": 2.5}, "group_width: 2.5 is not a whole number of at least 1"),
    ({"group_width": (1, "2", 3)}, "group_width: '2' is not a whole number of at least 1"),
    ({"se_ratio": -1}, "se_ratio: -1 is below 0"),
    ({"se_ratio": float("nan")}, "se_ratio: nan is not a finite number"),
    ({"se_ratio": "x"}, "se_ratio: 'x' is not a number"),
    ({"dropout": True}, "dropout: True is not a number"),
    ({"dropout": 1}, "dropout: 1 is not a fraction below 1"),
    ({"dropout": 1.5}, "dropout: 1.5 is above 1, the most there can be"),
    ({"zero_gamma": 1}, "zero_gamma: 1 is not true or false"),
    ({"stem_width": 0}, "stem_width: 0 is not a whole number of at least 1"),
    ({"stem_width": 65_537}, "stem_width: 65537 is above 65536, the most there can be"),
    ({"head_width": 0}, "head_width: 0 is not a whole number of at least 1"),
    ({"head_width": 65_537}, "head_width: 65537 is above 65536, the most there can be"),
]  # fmt: skip

OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"skip_options": 3}, "skip_options: 3 is not a mapping of options to numbers"),
    ({"skip_options": ["alpha"]}, "skip_options: ['alpha'] is not a mapping of options to numbers"),
    ({"skip_options": {"alpha": 1}}, "skip_options: 'alpha' is no option of skip 'identity'; it has none"),
    ({"skip": "scaled", "skip_options": {"alpa": 1}}, "skip_options: 'alpa' is no option of skip 'scaled'; did you "
     "mean 'alpha'?"),
    ({"skip": "scaled", "skip_options": {"alpha": True}}, "skip_options.'alpha': True is not a number"),
    ({"skip": "scaled", "skip_options": {"alpha": "1"}}, "skip_options.'alpha': '1' is not a number"),
    ({"skip": "scaled", "skip_options": {"beta": 2e6}}, "skip_options.'beta': 2e+06 is above 1e+06, the most there can "
     "be"),
    ({**DENSE, "skip_options": {"growth_rate": 5000}}, "skip_options.'growth_rate': 5000 is above 4096, the most there "
     "can be"),
    ({**DENSE, "skip_options": {"growth_rate": -1}}, "skip_options.'growth_rate': -1 is below 0"),
    ({**DENSE, "skip_options": {"growth_rate": 2.5}}, "skip_options.growth_rate: 2.5 is not a whole number of at least "
     "0"),
    ({**DENSE, "skip_options": {"compression": 0}}, "skip_options.compression: 0 is not a fraction above 0, at most 1"),
    ({**DENSE, "skip_options": {"compression": 1.5}}, "skip_options.compression: 1.5 is not a fraction above 0, at "
     "most 1"),
    ({"skip": "stochastic_depth", "skip_options": {"survival": 0}}, "skip_options.survival: 0 is not a probability "
     "above 0"),
    ({"skip": "stochastic_depth", "skip_options": {"survival": 1.5}}, "skip_options.survival: 1.5 is not a probability "
     "above 0"),
    ({"skip": "dropout_shortcut", "skip_options": {"rate": 1}}, "skip_options.rate: 1 is not a fraction below 1"),
    ({"skip": "dropout_shortcut", "skip_options": {"rate": -0.5}}, "skip_options.rate: -0.5 is not a fraction below 1"),
    ({"skip": "weighted", "skip_options": {"alpha": -1}}, "skip_options.alpha: -1 is not a number of at least 0"),
    ({"skip": "weighted", "skip_options": {"beta": -0.5}}, "skip_options.beta: -0.5 is not a number of at least 0"),
]  # fmt: skip

TOGETHER: list[tuple[dict[str, Any], str]] = [
    ({**DENSE, "widths": (9, 9)}, "widths: [9, 9] do not follow from growth_rate 6, compression 0.5, which gives "
     "[24, 30]; leave widths out"),
    ({"block": "mlp", "stem": "cifar"}, "stem: 'cifar' is not compatible with block 'mlp': it takes images, the block "
     "works on vectors; expected linear"),
    ({"stem": "linear"}, "stem: 'linear' is not compatible with block 'basic': it takes vectors or sequences, the "
     "block works on images; expected cifar or imagenet or deep or simple or patch"),
    ({"block": "mlp", "strides": (1, 2, 1)}, "strides: [1, 2, 1] are not compatible with block 'mlp': it has no pixels "
     "to skip"),
    ({"block": "transformer", "kernel_size": 3}, "kernel_size: '3' is not compatible with block 'transformer': it has "
     "no spatial convolution; expected '1'"),
    ({"skip": "fixup"}, "norm: 'batch' is not compatible with skip 'fixup': Fixup stands in for normalisation (Zhang "
     "et al. 2019); expected 'none'"),
    ({"skip": "conv_shortcut", "shortcut": "pad"}, "shortcut: 'pad' is not compatible with skip 'conv_shortcut': it "
     "puts a 1x1 convolution on every shortcut"),
    ({"zero_gamma": True, "norm_order": "pre"}, "zero_gamma: true is not compatible with block 'basic', norm 'batch' "
     "and norm_order 'pre': no norm ends the branch"),
    ({"zero_gamma": True, "norm": "none"}, "zero_gamma: true is not compatible with block 'basic', norm 'none' and "
     "norm_order 'post': no norm ends the branch"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "said"), [*FIELDS, *OPTIONS, *TOGETHER])
def test_fields_without_a_meaning_are_refused_word_for_word(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchitectureError) as refused:
        Architecture(**fields)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    "fields",
    [
        {"depths": (1,) * 16, "widths": (1,) * 16},
        {"depths": (5000, 5000), "widths": (65_536, 1)},
        {"strides": (64, 1, 1), "stem_width": 65_536, "head_width": 65_536},
        {"kernel_size": 255, "bottleneck_ratio": 64, "se_ratio": 64},
        {"kernel_size": 1, "bottleneck_ratio": 2**-10, "dropout": 0.99, "head_width": 1, "stem_width": 1},
        {"skip": "stochastic_depth", "skip_options": {"survival": 1}},
        {"skip": "dropout_shortcut", "skip_options": {"rate": 0}},
        {"skip": "weighted", "skip_options": {"alpha": 0, "beta": 0}},
        {"skip": "scaled", "skip_options": {"alpha": -1e6, "beta": 1e6}},
        {**DENSE, "skip_options": {"growth_rate": 4096, "compression": 1}},
        {**DENSE, "widths": (24, 30)},
        {"zero_gamma": True},
        {"block": "mlp", "strides": (1, 1, 1)},
    ],
)
def test_the_ends_of_what_is_allowed_are_allowed(fields: dict[str, Any]) -> None:
    assert Architecture(**fields)


NAMES = [
    ("resnet56-cifr", "preset 'resnet56-cifr' is unknown; did you mean 'resnet56-cifar'?"),
    ("resnet56-x3-w16", None),
    ("basic-d3-x16", None),
    ("d3-w16", None),
    ("a-basic-d3-w16", "block: 'a-basic' is unknown; did you mean 'basic'?"),
    ("basic-dx-w16", "depths: 'x' is not numbers joined by dots, such as 3.4.6.3"),
    ("basic-d3-w", "widths: '' is not numbers joined by dots, such as 3.4.6.3"),
    ("basic-d3-w16+strides=1.x", "strides: '1.x' is not numbers joined by dots, such as 3.4.6.3"),
    ("basic-d3-w16+kernel_size=x", "kernel_size: 'x' is not a whole number"),
    ("basic-d3-w16+kernel_size=3.5.x", "kernel_size: '3.5.x' is not numbers joined by dots, such as 3.4.6.3"),
    ("basic-d3-w16+group_width=2.x", "group_width: '2.x' is not numbers joined by dots, such as 3.4.6.3"),
    ("basic-d3-w16+stem_width=1.5", "stem_width: '1.5' is not a whole number"),
    ("basic-d3-w16+head_width=", "head_width: '' is not a whole number"),
    ("basic-d3-w16+dropout=much", "dropout: 'much' is not a number"),
    ("basic-d3-w16+se_ratio=much", "se_ratio: 'much' is not a number"),
    ("basic-d3-w16+bottleneck_ratio=0.5.1", "bottleneck_ratio: '0.5.1' is not a number"),
    ("basic-d3.3-w16.32+bottleneck_ratio=1:x", "bottleneck_ratio: 'x' is not a number"),
    ("basic-d3-w16+zero_gamma=yes", "zero_gamma: 'yes' is not true or false"),
    ("basic-d3-w16+skip=scaled+alpha=x", "alpha: 'x' is not a number"),
    ("basic-d3-w16+shortcut", "shortcut: '' is unknown; known: pad, projection, projection_all, avgpool_projection, "
     "none"),
    ("basic-d" + ".".join("1" * 18) + "-w1", "depths: 18 stages are above 16, the most there can be"),
    ("basic-d" + ".".join("1" * 19) + "-w1", "depths: '1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1' is not numbers joined by "
     "dots, such as 3.4.6.3"),
    ("basic-d1-w1+bottleneck_ratio=" + ":".join("1" * 18), "bottleneck_ratio: [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, "
     "1.0, 1.0, 1.0, 1... has 18 stages, not 1"),
    ("basic-d1-w1+bottleneck_ratio=" + ":".join("1" * 19), "bottleneck_ratio: '1:1' is not a number"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "said"), NAMES)
def test_what_is_no_name_is_refused_word_for_word(name: str, said: str | None) -> None:
    with pytest.raises(ArchitectureError) as refused:
        Architecture.from_name(name)
    if said is None:  # taken for a preset's
        assert str(refused.value).startswith(f"preset '{name}' is unknown; ")
    else:
        assert str(refused.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[1]", "expected a JSON object of Architecture fields, got list"),
        ("3", "expected a JSON object of Architecture fields, got int"),
        ("[" * 200_000, "not JSON: brackets within brackets"),
        ('{"width": [1]}', "width: no such Architecture field; did you mean 'widths'?"),
    ],
)
def test_what_is_no_json_of_an_architecture_is_refused_word_for_word(text: str, said: str) -> None:
    with pytest.raises(ArchitectureError) as refused:
        Architecture.from_json(text)
    assert str(refused.value) == said
