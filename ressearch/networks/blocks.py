"""Residual branches F(x): one function per block type, written once as layers.

A block function gets a `BlockSpec` (widths, stride, norm, order…) and returns the branch's layers, or one branch after
another where the block has several; `network` adds the skip around each and `cost` reads the same layers. To add a
block type, write one function here under ``@block``: its modality, the published defaults of Architecture's fields and
the values that are not compatible with it are declared there too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ressearch.errors import ArchitectureError
from ressearch.limits import short
from ressearch.networks.attention import Attention, heads_for
from ressearch.networks.compatibility import NO_PIXELS, Rule, never, only
from ressearch.networks.layers import (
    Activation,
    Conv,
    Dropout,
    Layer,
    Layers,
    Linear,
    Norm,
    SqueezeExcite,
    norm_layers,
)
from ressearch.registry import Registry, cached, written

Branches = tuple[Layers, ...]

SE_POSITIONS: dict[str, str] = {
    "inner": "after the last spatial convolution, squeezed to block input width x se_ratio (EfficientNet, RegNetY)",
    "outer": "at the end of the branch, squeezed to its own width x se_ratio (Hu et al. 2018)",
}


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """Everything a block function may read: one block's widths, stride and style."""

    in_width: int
    width: int
    stride: int = 1
    bottleneck_ratio: float = 1.0
    group_width: int | None = None
    se_ratio: float = 0.0
    se_position: str = "inner"
    kernel_size: int = 3
    activation: str = "relu"
    norm: str = "batch"
    norm_order: str = "post"
    dropout: float = 0.0
    bias: bool = False

    @property
    def inner_width(self) -> int:
        """Width between the block's first and last layer: output width x bottleneck ratio."""
        return max(1, round(self.width * self.bottleneck_ratio))

    @property
    def expanded_width(self) -> int:
        """Inner width of inverted blocks: *input* width x bottleneck ratio (Sandler et al. 2018, Table 1)."""
        return max(1, round(self.in_width * self.bottleneck_ratio))

    def conv(self, in_width: int, width: int, kernel: int = 1, *, stride: int = 1, grouped: bool = False) -> Conv:
        """Return a convolution with a bias only where no norm follows, grouped by `group_width` on request."""
        groups = 1
        if grouped and self.group_width is not None:
            groups, rest = divmod(width, self.group_width)
            if rest or in_width % groups:
                raise ArchitectureError(
                    f"group_width: {self.group_width} does not divide a spatial convolution "
                    f"of {in_width} to {width} channels"
                )
        return Conv(in_width, width, kernel, stride, groups, bias=self.bias)

    def depthwise(self, width: int) -> Conv:
        """Return the block's strided convolution of each channel by itself."""
        return Conv(width, width, self.kernel_size, self.stride, groups=width, bias=self.bias)

    def squeeze_excite(self, width: int, position: Literal["inner", "outer"]) -> Layers:
        """Return a squeeze-excitation of `width` channels if it belongs in this position, else nothing."""
        if not self.se_ratio or position != self.se_position:
            return ()
        basis = self.in_width if position == "inner" else width
        return (SqueezeExcite(width, max(1, round(basis * self.se_ratio)), self.activation),)

    def dropout_layers(self) -> Layers:
        """Return the branch's dropout, if it has one."""
        return (Dropout(self.dropout),) if self.dropout else ()

    def ordered(self, *parts: Layer) -> Branches:
        """Weave norms, activations and dropout into `parts` by `norm_order`; the block's one branch.

        ``post`` (He et al. 2015): conv, norm, activation, …, conv, norm; the last activation follows the addition.
        ``pre`` (He et al. 2016, full pre-activation): norm, activation, conv, …; nothing follows the addition.
        Parts without a width of their own (squeeze-excitation) stand where they are written: after the activation
        of the convolution before them, or after the branch's last norm. Dropout stands before the last convolution
        (Zagoruyko and Komodakis 2016).
        """
        modality = "vector" if isinstance(parts[0], Linear) else "image"
        act = Activation(self.activation)
        weighted = [part for part in parts if isinstance(part, Conv | Linear)]
        layers: list[Layer] = []
        for part in parts:
            if not isinstance(part, Conv | Linear):
                layers.append(part)
                continue
            dropout = self.dropout_layers() if part is weighted[-1] else ()
            if self.norm_order == "pre":
                layers += [*norm_layers(self.norm, part.in_width, modality), act, *dropout, part]
            else:
                layers += [*dropout, part, *norm_layers(self.norm, part.width, modality)]
                if part is not weighted[-1]:
                    layers.append(act)
        return (tuple(layers),)


_PUBLISHED: dict[str, Any] = {
    "bottleneck_ratio": 1.0,
    "se_position": "inner",
    "kernel_size": 3,
    "activation": "relu",
    "norm": "batch",
    "norm_order": "post",
    "shortcut": "projection",
    "stem": "cifar",
}


@dataclass(frozen=True)
class BlockType:
    """A registered block type.

    Attributes:
        branches: the function that writes its layers.
        modality: the kind of input it works on, a key of `ressearch.shapes.MODALITIES`.
        defaults: what Architecture's fields are where nobody sets them: the published values.
        rules: which values of other fields have a meaning with it.
        after: what ``norm_order: post`` puts after the addition: an activation, a norm, or nothing.
        final: what stands between the last block of a network and its classifier: ``pre`` orders need a norm there
            and most an activation.
        transition: layers that change the shape before a stage's first block, from (spec, stride); None where the
            first block does so itself.
    """

    branches: Callable[[BlockSpec], Branches]
    modality: str = "image"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    after: Literal["activation", "norm", "nothing"] = "activation"
    final: Literal["norm and activation", "norm", "norm of the mean"] = "norm and activation"
    transition: Callable[[BlockSpec, int], Layers] | None = None


BLOCKS: Registry[BlockType] = Registry("blocks", ArchitectureError, "block: {name} is unknown")
"""Every block type by name."""

_Function = Callable[[BlockSpec], Branches]


def block(
    name: str, *, defaults: Mapping[str, Any] | None = None, replace: bool = False, **traits: Any
) -> Callable[[_Function], _Function]:
    """Register a function as block type `name`.

    Args:
        name: what `block` calls it.
        defaults: of Architecture's fields, where they differ from a basic block's.
        replace: take the place of a block type of this name.
        traits: the other attributes of `BlockType`.
    """

    def make(branches: _Function) -> BlockType:
        return BlockType(branches, defaults={**_PUBLISHED, **(defaults or {})}, **traits)

    return BLOCKS.register(name, make=make, replace=replace)


def get_block(name: str) -> BlockType:
    """Return the registered block type. Raises ArchitectureError with the nearest name if there is none."""
    return BLOCKS.find(name)


def branches_of(name: str, kind: BlockType, spec: BlockSpec) -> Branches:
    """Return a block's branches. Raises ArchitectureError if its function fails, or returns something else."""
    branches = written("block", name, lambda: kind.branches(spec))
    is_right = isinstance(branches, tuple) and branches and all(map(_is_branch, branches))
    if not is_right:
        raise ArchitectureError(
            f"block: '{name}' returns {short(branches)}, no tuple of branches, each a tuple of layers, such as "
            "spec.ordered(spec.conv(...), ...) makes"
        )
    return branches


def _is_branch(branch: object) -> bool:
    return isinstance(branch, tuple) and bool(branch) and all(isinstance(layer, Layer) for layer in branch)


@cached
@functools.cache
def weighted_layers(name: str, bottleneck_ratio: float | None = None) -> int:
    """Return how many weighted layers one block puts on the main path (2 for `basic`, 3 for `bottleneck`)."""
    kind = get_block(name)
    ratio = kind.defaults["bottleneck_ratio"] if bottleneck_ratio is None else bottleneck_ratio
    branches = branches_of(name, kind, BlockSpec(in_width=8, width=8, bottleneck_ratio=ratio))
    return sum(layer.weighted for branch in branches for layer in branch)


@cached
@functools.cache
def ends_in_norm(name: str, norm: str, norm_order: str) -> bool:
    """Return whether a norm is the last layer of the block's branches, so that its scale can start at 0."""
    spec = BlockSpec(in_width=8, width=8, norm=norm, norm_order=norm_order)
    return all(isinstance(branch[-1], Norm) for branch in branches_of(name, get_block(name), spec))


@block("basic")
def basic(spec: BlockSpec) -> Branches:
    """Two k x k convolutions, the first strided. He et al. 2015, Fig. 5 left; wide: Zagoruyko and Komodakis 2016."""
    return spec.ordered(
        spec.conv(spec.in_width, spec.inner_width, spec.kernel_size, stride=spec.stride),
        spec.conv(spec.inner_width, spec.width, spec.kernel_size, grouped=True),
        *spec.squeeze_excite(spec.width, "inner"),
        *spec.squeeze_excite(spec.width, "outer"),
    )


@block("single")
def single(spec: BlockSpec) -> Branches:
    """One k x k convolution: the shortest branch; with `dense` skips and ``norm_order: pre``, DenseNet's layer."""
    return spec.ordered(
        spec.conv(spec.in_width, spec.width, spec.kernel_size, stride=spec.stride, grouped=True),
        *spec.squeeze_excite(spec.width, "inner"),
        *spec.squeeze_excite(spec.width, "outer"),
    )


@block("bottleneck", defaults={"bottleneck_ratio": 0.25})
def bottleneck(spec: BlockSpec) -> Branches:
    """1x1 reduce, k x k (strided, grouped for ResNeXt and RegNet), 1x1 expand.

    He et al. 2015, Fig. 5 right; the stride sits in the k x k as in Facebook's and torchvision's networks ("v1.5");
    groups as Xie et al. 2017 and Radosavovic et al. 2020.
    """
    inner = spec.inner_width
    return spec.ordered(
        spec.conv(spec.in_width, inner),
        spec.conv(inner, inner, spec.kernel_size, stride=spec.stride, grouped=True),
        *spec.squeeze_excite(inner, "inner"),
        spec.conv(inner, spec.width),
        *spec.squeeze_excite(spec.width, "outer"),
    )


@block("dense_bottleneck", defaults={"bottleneck_ratio": 4.0})
def dense_bottleneck(spec: BlockSpec) -> Branches:
    """1x1 to the inner width, k x k (strided, grouped) to the output: DenseNet-B's layer (Huang et al. 2017)."""
    return spec.ordered(
        spec.conv(spec.in_width, spec.inner_width),
        spec.conv(spec.inner_width, spec.width, spec.kernel_size, stride=spec.stride, grouped=True),
        *spec.squeeze_excite(spec.width, "inner"),
        *spec.squeeze_excite(spec.width, "outer"),
    )


_DEPTHWISE = (only("group_width", None, because="its spatial convolution is depthwise, one channel a group"),)


@block("depthwise_bottleneck", defaults={"bottleneck_ratio": 0.25}, rules=_DEPTHWISE)
def depthwise_bottleneck(spec: BlockSpec) -> Branches:
    """A bottleneck whose k x k convolution is depthwise: 1x1 reduce, depthwise (strided), 1x1 expand.

    Chollet 2017 for the depthwise separable convolution; the unit that ShuffleNet starts from (Zhang et al. 2018).
    """
    inner = spec.inner_width
    return spec.ordered(
        spec.conv(spec.in_width, inner),
        spec.depthwise(inner),
        *spec.squeeze_excite(inner, "inner"),
        spec.conv(inner, spec.width),
        *spec.squeeze_excite(spec.width, "outer"),
    )


@block(
    "inverted",
    defaults={"bottleneck_ratio": 4.0, "shortcut": "none"},
    rules=_DEPTHWISE,
    after="nothing",
)
def inverted(spec: BlockSpec) -> Branches:
    """MBConv: 1x1 expand, depthwise k x k (strided), 1x1 project, no activation after it.

    Sandler et al. 2018 (MobileNetV2), with squeeze-excitation Tan and Le 2019 (EfficientNet). The inner width is the
    *input* width x `bottleneck_ratio`, and a ratio of 1 has no expansion, as in both papers.
    """
    inner = spec.expanded_width
    expand = () if spec.bottleneck_ratio == 1 else (spec.conv(spec.in_width, inner),)
    return spec.ordered(
        *expand,
        spec.depthwise(inner),
        *spec.squeeze_excite(inner, "inner"),
        spec.conv(inner, spec.width),
        *spec.squeeze_excite(spec.width, "outer"),
    )


@block("fused_inverted", defaults={"bottleneck_ratio": 4.0, "shortcut": "none"}, after="nothing")
def fused_inverted(spec: BlockSpec) -> Branches:
    """Fused-MBConv: k x k expand (strided, grouped), 1x1 project, no activation after it.

    Tan and Le 2021 (EfficientNetV2), Fig. 2. The inner width is the *input* width x `bottleneck_ratio`; a ratio of 1
    is one k x k convolution, as published.
    """
    inner = spec.expanded_width
    if spec.bottleneck_ratio == 1:
        return single(spec)
    return spec.ordered(
        spec.conv(spec.in_width, inner, spec.kernel_size, stride=spec.stride, grouped=True),
        *spec.squeeze_excite(inner, "inner"),
        spec.conv(inner, spec.width),
        *spec.squeeze_excite(spec.width, "outer"),
    )


def _convnext_transition(spec: BlockSpec, stride: int) -> Layers:
    """A norm and a convolution of side and stride `stride` (Liu et al. 2022, section 2.6)."""
    conv = Conv(spec.in_width, spec.width, stride, stride, bias=True, padding=0)
    return (*norm_layers(spec.norm, spec.in_width), conv)


@block(
    "convnext",
    defaults={"bottleneck_ratio": 4.0, "kernel_size": 7, "activation": "gelu", "norm": "layer"},
    rules=_DEPTHWISE,
    after="nothing",
    final="norm of the mean",
    transition=_convnext_transition,
)
def convnext(spec: BlockSpec) -> Branches:
    """Depthwise k x k, norm, pointwise MLP with one activation; all with biases. Liu et al. 2022, Fig. 4.

    ``norm_order: pre`` puts the norm before the depthwise convolution, as transformers do. Stages change shape in
    layers of their own between them.
    """
    norm = norm_layers(spec.norm, spec.in_width)
    biased = spec.bias or bool(norm)
    depthwise = Conv(spec.in_width, spec.in_width, spec.kernel_size, groups=spec.in_width, bias=biased)
    head = (*norm, depthwise) if spec.norm_order == "pre" else (depthwise, *norm)
    return (
        (
            *head,
            *spec.squeeze_excite(spec.in_width, "inner"),
            Conv(spec.in_width, spec.inner_width, bias=biased),
            Activation(spec.activation),
            *spec.dropout_layers(),
            Conv(spec.inner_width, spec.width, bias=biased),
            *spec.squeeze_excite(spec.width, "outer"),
        ),
    )


@block(
    "mlp",
    modality="vector",
    defaults={"bottleneck_ratio": 2.0, "kernel_size": 1, "norm_order": "pre", "stem": "linear"},
    rules=(*NO_PIXELS, only("group_width", None, because="its linear layers are dense")),
)
def mlp(spec: BlockSpec) -> Branches:
    """Two linear layers: the ResNet for tabular data of Gorishniy et al. 2021.

    ``norm_order: pre`` is the published order: norm, linear, activation, dropout, linear. ``post`` is He et al.'s.
    """
    norm = norm_layers(spec.norm, spec.in_width, "vector")
    biased = spec.bias or (bool(norm) and spec.norm_order == "pre")
    first = Linear(spec.in_width, spec.inner_width, biased)
    last = Linear(spec.inner_width, spec.width, biased)
    if spec.norm_order == "post":
        return spec.ordered(first, last)
    return ((*norm, first, Activation(spec.activation), *spec.dropout_layers(), last),)


@block(
    "transformer",
    modality="sequence",
    defaults={
        "bottleneck_ratio": 4.0,
        "kernel_size": 1,
        "activation": "gelu",
        "norm": "layer",
        "norm_order": "pre",
        "stem": "linear",
    },
    rules=(
        *NO_PIXELS,
        never("skip", "dense", because="concatenation would give its two branches different widths"),
    ),
    after="norm",
    final="norm",
)
def transformer(spec: BlockSpec) -> Branches:
    """Self-attention, then an MLP: two residual branches per block. Vaswani et al. 2017; pre-norm: Xiong et al. 2020.

    `group_width` is the number of channels per head (None: 64, or the nearest that divides the width). ``post`` puts
    the norm after each addition, ``pre`` before each branch.
    """
    is_pre = spec.norm_order == "pre"

    def normed(width: int) -> tuple[Norm, ...]:
        return norm_layers(spec.norm, width, "sequence") if is_pre else ()  # type: ignore[return-value]

    attention = Attention(spec.in_width, spec.width, heads_for(spec.width, spec.group_width))
    first, last = Linear(spec.width, spec.inner_width), Linear(spec.inner_width, spec.width)
    return (
        (*normed(spec.in_width), attention, *spec.dropout_layers()),
        (*normed(spec.width), first, Activation(spec.activation), last, *spec.dropout_layers()),
    )
