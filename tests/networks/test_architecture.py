from __future__ import annotations

import pytest

from ressearch import Architecture, presets
from ressearch.errors import ArchitectureError
from ressearch.networks.families import depths_for, widths_for


@pytest.mark.parametrize("name", presets())
def test_names_and_json_round_trip(name: str) -> None:
    architecture = Architecture.preset(name)
    assert Architecture.from_name(architecture.name) == architecture
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert Architecture.from_name(name) == architecture


def test_name_and_json_keep_every_field() -> None:
    odd = Architecture(
        "bottleneck",
        (1, 2),
        (12, 24),
        strides=(2, 1),
        bottleneck_ratio=0.5,
        group_width=(3, 6),
        se_ratio=0.25,
        kernel_size=5,
        activation="silu",
        norm="group",
        norm_order="pre",
        skip="none",
        shortcut="pad",
        stem_width=7,
    )
    assert Architecture.from_name(odd.name) == odd
    assert Architecture.from_json(odd.to_json()) == odd
    assert len({odd, Architecture.from_name(odd.name)}) == 1


@pytest.mark.parametrize(
    ("name", "depth"),
    [("resnet56-cifar", 56), ("resnet1202-cifar", 1202), ("preresnet1001-cifar", 1001), ("resnet152-imagenet", 152)],
)
def test_depth_is_the_papers(name: str, depth: int) -> None:
    assert Architecture.preset(name).depth == depth


def test_papers_depth_gives_blocks_per_stage() -> None:
    assert depths_for(56, "basic", 3) == (9, 9, 9)
    assert depths_for(164, "bottleneck", 3) == (18, 18, 18)
    assert widths_for(16, 3) == (16, 32, 64)


def test_impossible_depth_names_its_neighbours() -> None:
    with pytest.raises(ArchitectureError, match=r"depth 57 is not 6n\+2 .*nearest: 56 or 62"):
        depths_for(57, "basic", 3)
    with pytest.raises(ArchitectureError, match="nearest: 8"):
        depths_for(3, "basic", 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": "botleneck"}, "did you mean 'bottleneck'"),
        ({"skip": "identiy"}, "did you mean 'identity'"),
        ({"shortcut": "projecton"}, "did you mean 'projection'"),
        ({"norm": "bach"}, "did you mean 'batch'"),
        ({"depths": (3, 3), "widths": (16, 32, 64)}, "widths: .* has 3 stages, depths .* has 2"),
        ({"depths": (3, 0, 3)}, "depths: 0 is not a whole number"),
        ({"widths": "16"}, "widths: '16' is not a list"),
        ({"bottleneck_ratio": -1}, "bottleneck_ratio: -1 is below 0.000976562"),
        ({"kernel_size": 4}, "kernel_size: 4 is even"),
        ({"skip_options": {"alpha": 1}}, "'alpha' is no option of skip 'identity'"),
    ],
)
def test_bad_fields_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        Architecture(**changes)


def test_unknown_preset_and_field_name_the_nearest() -> None:
    with pytest.raises(ArchitectureError, match="did you mean 'resnet56-cifar'"):
        Architecture.preset("resnet56-cifr")
    with pytest.raises(ArchitectureError, match="did you mean 'widths'"):
        Architecture.from_dict({"width": [1]})
    with pytest.raises(ArchitectureError, match="not JSON"):
        Architecture.from_json("{")
