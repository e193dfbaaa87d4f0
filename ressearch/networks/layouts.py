"""How published state dicts name their weights: one table per family of networks, for timm's keys and torchvision's.

A `Layout` lists the names of a part's weighted modules (convolutions, norms, linear layers) in the order in which the
network applies them. In a name, ``{s}`` is the stage and ``{b}`` the block, both from 0, ``{S}`` and ``{B}`` from 1,
``{even}`` and ``{odd}`` are 2s and 2s + 1, ``{N}`` is the number of stages plus 1. A name in brackets is that of a
squeeze-excitation, left out where the block has none. `ressearch.networks.published` reads the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ressearch.errors import ArchitectureError
from ressearch.networks.architecture import Architecture


@dataclass(frozen=True)
class Layout:
    """The keys of one house's state dicts.

    Attributes:
        houses: whose: ``timm``, ``torchvision`` or both.
        stem: names by `Architecture.stem`.
        block: prefix of a block's names.
        branch: names by the number of the branch's convolutions.
        shortcut: names by `Architecture.shortcut`, where a block has a weighted one.
        head: names of what stands between the last stage and the classifier.
        classifier: its name.
        transition: names, with their prefix, of what stands before a stage; their ``{s}`` is the stage they lead to.
        scale: name of the numbers that the skip style scales a branch with.
        axes: of keys (by their end) whose tensors have another number of axes than here: 1x1 convolutions kept as
            matrices, scales kept as maps.
    """

    houses: tuple[str, ...]
    stem: Mapping[str, str]
    block: str
    branch: Mapping[int, str]
    classifier: str
    shortcut: Mapping[str, str] = field(default_factory=dict)
    head: str = ""
    transition: str = ""
    scale: str = ""
    axes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """Networks whose published weights have the same layouts.

    Attributes:
        name: the family's, for messages.
        requires: values of Architecture's fields that the published networks have; others compute something else.
        layouts: the known ones.
    """

    name: str
    requires: Mapping[str, tuple[object, ...]]
    layouts: tuple[Layout, ...]

    def unmet(self, architecture: Architecture) -> list[str]:
        """Return the fields by which an architecture is none of the family's."""
        fields = [key for key in self.requires if key != "se_position" or architecture.se_ratio]
        return [key for key in fields if getattr(architecture, key) not in self.requires[key]]


_POST = {"norm": ("batch",), "norm_order": ("post",), "skip": ("identity",)}

FAMILIES: tuple[Family, ...] = (
    Family(
        "ResNet",  # ResNeXt, wide, SE and D variants too
        {
            "block": ("basic", "bottleneck"),
            "stem": ("imagenet", "deep"),
            **_POST,
            "shortcut": ("projection", "avgpool_projection"),
            "head_width": (None,),
            "activation": ("relu",),
            "se_position": ("outer",),
        },
        (
            Layout(
                ("timm", "torchvision"),
                stem={"imagenet": "conv1 bn1", "deep": "conv1.0 conv1.1 conv1.3 conv1.4 conv1.6 bn1"},
                block="layer{S}.{b}.",
                branch={
                    2: "conv1 bn1 conv2 bn2 [se.fc1] [se.fc2]",
                    3: "conv1 bn1 conv2 bn2 conv3 bn3 [se.fc1] [se.fc2]",
                },
                # timm keeps a place for the average pool of ResNet-D, also where the stride is 1 and it does nothing.
                shortcut={"projection": "downsample.0 downsample.1", "avgpool_projection": "downsample.1 downsample.2"},
                classifier="fc",
            ),
        ),
    ),
    Family(
        "RegNet",
        {
            "block": ("bottleneck",),
            "stem": ("simple",),
            **_POST,
            "shortcut": ("projection",),
            "head_width": (None,),
            "activation": ("relu",),
            "se_position": ("inner",),
        },
        (
            Layout(
                ("timm",),
                stem={"simple": "stem.conv stem.bn"},
                block="s{S}.b{B}.",
                branch={3: "conv1.conv conv1.bn conv2.conv conv2.bn [se.fc1] [se.fc2] conv3.conv conv3.bn"},
                shortcut={"projection": "downsample.conv downsample.bn"},
                classifier="head.fc",
            ),
            Layout(
                ("torchvision",),
                stem={"simple": "stem.0 stem.1"},
                block="trunk_output.block{S}.block{S}-{b}.",
                branch={3: "f.a.0 f.a.1 f.b.0 f.b.1 [f.se.fc1] [f.se.fc2] f.c.0 f.c.1"},
                shortcut={"projection": "proj.0 proj.1"},
                classifier="fc",
            ),
        ),
    ),
    Family(
        "ConvNeXt",
        {
            "block": ("convnext",),
            "stem": ("patch",),
            "norm": ("layer",),
            "norm_order": ("post",),
            "skip": ("layerscale",),
            "head_width": (None,),
            "activation": ("gelu",),
            "se_ratio": (0,),
        },
        (
            Layout(
                ("timm",),
                stem={"patch": "stem.0 stem.1"},
                block="stages.{s}.blocks.{b}.",
                branch={3: "conv_dw norm mlp.fc1 mlp.fc2"},
                transition="stages.{s}.downsample.0 stages.{s}.downsample.1",
                scale="gamma",
                head="head.norm",
                classifier="head.fc",
                axes={"mlp.fc1.weight": 2, "mlp.fc2.weight": 2},
            ),
            Layout(
                ("torchvision",),
                stem={"patch": "features.0.0 features.0.1"},
                block="features.{odd}.{b}.",
                branch={3: "block.0 block.2 block.3 block.5"},
                transition="features.{even}.0 features.{even}.1",
                scale="layer_scale",
                head="classifier.0",
                classifier="classifier.2",
                axes={"block.3.weight": 2, "block.5.weight": 2, "layer_scale": 3},
            ),
        ),
    ),
    Family(
        "EfficientNet",
        {
            "block": ("inverted",),
            "stem": ("simple",),
            **_POST,
            "shortcut": ("none",),
            "activation": ("silu",),
            "se_position": ("inner",),
        },
        (
            Layout(
                ("timm",),
                stem={"simple": "conv_stem bn1"},
                block="blocks.{s}.{b}.",
                branch={
                    2: "conv_dw bn1 [se.conv_reduce] [se.conv_expand] conv_pw bn2",
                    3: "conv_pw bn1 conv_dw bn2 [se.conv_reduce] [se.conv_expand] conv_pwl bn3",
                },
                head="conv_head bn2",
                classifier="classifier",
            ),
            Layout(
                ("torchvision",),
                stem={"simple": "features.0.0 features.0.1"},
                block="features.{S}.{b}.block.",
                branch={
                    2: "0.0 0.1 [1.fc1] [1.fc2] 2.0 2.1",
                    3: "0.0 0.1 1.0 1.1 [2.fc1] [2.fc2] 3.0 3.1",
                },
                head="features.{N}.0 features.{N}.1",
                classifier="classifier.1",
            ),
        ),
    ),
    Family(
        "DenseNet",
        {
            "block": ("dense_bottleneck",),
            "stem": ("imagenet",),
            "norm": ("batch",),
            "norm_order": ("pre",),
            "skip": ("dense",),
            "head_width": (None,),
            "activation": ("relu",),
            "se_ratio": (0,),
        },
        (
            Layout(
                ("timm", "torchvision"),
                stem={"imagenet": "features.conv0 features.norm0"},
                block="features.denseblock{S}.denselayer{B}.",
                branch={2: "norm1 conv1 norm2 conv2"},
                transition="features.transition{s}.norm features.transition{s}.conv",
                head="features.norm{N}",
                classifier="classifier",
            ),
        ),
    ),
)


def family_of(architecture: Architecture) -> Family:
    """Return the family whose published layouts an architecture's weights have.

    Raises ArchitectureError if there is none, with the field by which the nearest family is missed.
    """
    unmet = {family.name: family.unmet(architecture) for family in FAMILIES}
    same_block = [family for family in FAMILIES if architecture.block in family.requires["block"]]
    if not same_block:
        known = dict.fromkeys(str(block) for family in FAMILIES for block in family.requires["block"])
        raise ArchitectureError(f"block: '{architecture.block}' is in no published network; known: {', '.join(known)}")
    # The stem tells families of one block apart, as ResNets and RegNets are.
    family = min(same_block, key=lambda one: ("stem" in unmet[one.name], len(unmet[one.name])))
    if missed := unmet[family.name]:
        values = " or ".join(map(str, family.requires[missed[0]]))
        raise ArchitectureError(
            f"{missed[0]}: '{getattr(architecture, missed[0])}' is in no published {family.name}; "
            f"their state dicts have {values}"
        )
    return family
