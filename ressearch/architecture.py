"""Architecture: the frozen, hashable description of one residual network.

Everything else is derived from it: `plan` and `build` (network.py) make the torch module, `cost` (cost.py) says what
it costs, `name` and `to_json` write it down. The field names follow the papers; see the class docstring.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ressearch.blocks import BLOCKS, get_block, weighted_layers
from ressearch.errors import ArchitectureError, nearest
from ressearch.layers import ACTIVATIONS, NORMS
from ressearch.skips import SHORTCUTS, SKIPS, get_shortcut, get_skip, skip_options

NORM_ORDERS = ("post", "pre")


@dataclass(frozen=True)
class Stem:
    """What a stem does to its input, and the number of classes of the data it was published for."""

    default_classes: int
    default_stride: int
    """Stride of the first stage."""


STEMS: dict[str, Stem] = {
    "cifar": Stem(default_classes=10, default_stride=1),
    "imagenet": Stem(default_classes=1000, default_stride=1),
}
"""Stems by name: `cifar` is 3x3, stride 1; `imagenet` is 7x7, stride 2, then a 3x3 max-pool, stride 2."""


@dataclass(frozen=True)
class Architecture:
    """One residual network: stem, stages of blocks, classifier.

    Fields left at None take the default in brackets and are stored resolved, so equal networks compare equal.

    Args:
        block: residual branch: a name in `ressearch.blocks.BLOCKS`.
        depths: blocks per stage.
        widths: output channels per stage.
        strides: stride of each stage's first block [1, then 2].
        bottleneck_ratio: inner width / output width [basic 1.0, bottleneck 0.25].
        group_width: channels per group of the spatial convolution, one number or one a stage; None is dense.
        se_ratio: squeeze-excitation width / block input width; 0 is none.
        kernel_size: side of the spatial convolutions, odd.
        activation: ``relu``, ``silu`` or ``gelu``.
        norm: ``batch``, ``group``, ``layer`` or ``none``.
        norm_order: ``post`` (He et al. 2015) or ``pre`` (full pre-activation, He et al. 2016).
        skip: how x and F(x) meet: a name in `ressearch.skips.SKIPS`; ``none`` is the plain network.
        skip_options: the skip style's own numbers [the published ones].
        shortcut: how x matches a new shape: a name in `ressearch.skips.SHORTCUTS`.
        stem: ``cifar`` (3x3, stride 1) or ``imagenet`` (7x7, stride 2, max-pool).
        stem_width: output channels of the stem [widths[0], for bottlenecks its inner width].

    Raises:
        ArchitectureError: a field has a value that describes no network; the text names field, value and remedy.

    Example:
        >>> Architecture(depths=(9, 9, 9), widths=(16, 32, 64)).depth
        56
    """

    block: str = "basic"
    depths: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = (16, 32, 64)
    strides: tuple[int, ...] = None  # type: ignore[assignment]
    bottleneck_ratio: float = None  # type: ignore[assignment]
    group_width: int | tuple[int, ...] | None = None
    se_ratio: float = 0.0
    kernel_size: int = 3
    activation: str = "relu"
    norm: str = "batch"
    norm_order: str = "post"
    skip: str = "identity"
    skip_options: tuple[tuple[str, float], ...] = ()
    shortcut: str = "projection"
    stem: str = "cifar"
    stem_width: int = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        get_block(self.block)
        _member("stem", self.stem, STEMS)
        put("depths", _integers("depths", self.depths))
        put("widths", _integers("widths", self.widths))
        stages = len(self.depths)
        for key in ("strides", "bottleneck_ratio", "stem_width"):
            if getattr(self, key) is None:
                put(key, self._default(key))
        put("strides", _integers("strides", self.strides))
        for key in ("widths", "strides"):
            if len(getattr(self, key)) != stages:
                raise ArchitectureError(
                    f"{key}: {list(getattr(self, key))} has {len(getattr(self, key))} stages, "
                    f"depths {list(self.depths)} has {stages}"
                )
        put("bottleneck_ratio", _number("bottleneck_ratio", self.bottleneck_ratio, above=0.0))
        put("se_ratio", _number("se_ratio", self.se_ratio, least=0.0))
        if isinstance(self.group_width, Sequence):
            put("group_width", _integers("group_width", self.group_width))
            if len(self.group_width) != stages:
                raise ArchitectureError(
                    f"group_width: {list(self.group_width)} has {len(self.group_width)} stages, not {stages}"
                )
        elif self.group_width is not None:
            put("group_width", _integer("group_width", self.group_width))
        if _integer("kernel_size", self.kernel_size) % 2 == 0:
            raise ArchitectureError(f"kernel_size: {self.kernel_size} is even; expected an odd side")
        _member("activation", self.activation, ACTIVATIONS)
        _member("norm", self.norm, NORMS)
        _member("norm_order", self.norm_order, NORM_ORDERS)
        put("skip_options", _resolve_options(self.skip, self.skip_options))
        get_shortcut(self.shortcut)
        put("stem_width", _integer("stem_width", self.stem_width))

    def _default(self, key: str) -> Any:
        """Return what a field is when nobody sets it, given the fields before it."""
        if key == "strides":
            return (STEMS[self.stem].default_stride,) + (2,) * (len(self.depths) - 1)
        if key == "bottleneck_ratio":
            return get_block(self.block).bottleneck_ratio
        if key == "stem_width":
            ratio = _number("bottleneck_ratio", self.bottleneck_ratio, above=0.0)
            return max(1, round(self.widths[0] * min(1.0, ratio)))
        if key == "skip_options":
            return _resolve_options(self.skip, ())
        return _FIELDS[key].default

    @property
    def depth(self) -> int:
        """The papers' depth: weighted layers on the main path (branches, stem, classifier)."""
        return 2 + weighted_layers(self.block) * sum(self.depths)

    @property
    def default_classes(self) -> int:
        """Classes of the data the stem was published for: 10 (`cifar`) or 1000 (`imagenet`)."""
        return STEMS[self.stem].default_classes

    @classmethod
    def preset(cls, name: str) -> Architecture:
        """Return a published network, such as ``resnet56-cifar``. `ressearch.presets()` lists the names.

        Raises ArchitectureError with the nearest name if there is no such preset.
        """
        from ressearch.presets import PRESETS

        if name not in PRESETS:
            raise ArchitectureError(f"preset '{name}' is unknown; {nearest(name, PRESETS)}")
        return PRESETS[name]

    @property
    def name(self) -> str:
        """A compact name that `from_name` reads back: ``basic-d9.9.9-w16.32.64+skip=none``."""
        short = f"{self.block}-d{_dotted(self.depths)}-w{_dotted(self.widths)}"
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("block", "depths", "widths") or value == self._default(field.name):
                continue
            if field.name == "skip_options":
                short += "".join(f"+{option}={number!r}" for option, number in value)
            else:
                short += f"+{field.name}={_dotted(value) if isinstance(value, tuple) else value}"
        return short

    @classmethod
    def from_name(cls, name: str) -> Architecture:
        """Read a name written by `name`, or a preset's.

        Raises ArchitectureError if it is neither.
        """
        head, *settings = name.split("+")
        parts = head.rsplit("-", 2)
        if len(parts) != 3 or parts[1][:1] != "d" or parts[2][:1] != "w":
            return cls.preset(name)
        values: dict[str, Any] = {
            "block": parts[0],
            "depths": _undotted("depths", parts[1][1:]),
            "widths": _undotted("widths", parts[2][1:]),
        }
        options: dict[str, float] = {}
        for setting in settings:
            key, _, text = setting.partition("=")
            if key in _FIELDS:
                values[key] = _parse(key, text)
            else:
                options[key] = _parse_number(key, text)
        return cls(**values, skip_options=options)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values; `from_dict` reads them back."""
        return {
            field.name: dict(value)
            if field.name == "skip_options"
            else list(value)
            if isinstance(value, tuple)
            else value
            for field in fields(self)
            for value in [getattr(self, field.name)]
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Build from a mapping of fields. Raises ArchitectureError for an unknown key, with the nearest field."""
        for key in values:
            if key not in _FIELDS:
                raise ArchitectureError(f"{key}: no such Architecture field; {nearest(key, _FIELDS)}")
        return cls(**values)

    def to_json(self) -> str:
        """Return the fields as one line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Read `to_json`'s output. Raises ArchitectureError if it is no JSON object of fields."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ArchitectureError(f"not JSON: {error}") from error
        if not isinstance(values, dict):
            raise ArchitectureError(f"expected a JSON object of Architecture fields, got {type(values).__name__}")
        return cls.from_dict(values)

    def replace(self, **changes: Any) -> Architecture:
        """Return a copy with some fields changed (defaults that depend on others are not resolved anew)."""
        return replace(self, **changes)


_FIELDS = {field.name: field for field in fields(Architecture)}

CHOICES: dict[str, Callable[[], Sequence[str]]] = {
    "block": lambda: tuple(BLOCKS),
    "activation": lambda: tuple(ACTIVATIONS),
    "norm": lambda: tuple(NORMS),
    "norm_order": lambda: NORM_ORDERS,
    "skip": lambda: tuple(SKIPS),
    "shortcut": lambda: tuple(SHORTCUTS),
    "stem": lambda: tuple(STEMS),
}
"""The named choices of each categorical field."""


def depths_for(depth: int, block: str, stages: int) -> tuple[int, ...]:
    """Return the blocks per stage of a uniform network of the papers' `depth`.

    He et al. 2015, section 4.2: depth = 2 + (weighted layers a block) x stages x n; 6n+2 for basic blocks in 3 stages.

    Raises ArchitectureError, naming the nearest depths that exist, if no whole n fits.
    """
    step = weighted_layers(block) * stages
    blocks, rest = divmod(depth - 2, step)
    if rest or blocks < 1:
        below, above = 2 + step * max(1, blocks), 2 + step * (max(0, blocks) + 1)
        choices = f"{below} or {above}" if below != above else f"{below}"
        raise ArchitectureError(
            f"depth {depth} is not {step}n+2 ({block} blocks in {stages} stages); nearest: {choices}"
        )
    return (blocks,) * stages


def widths_for(width: int, stages: int) -> tuple[int, ...]:
    """Return the widths of a uniform family: `width`, doubled at each later stage (He et al. 2015)."""
    return tuple(width * 2**stage for stage in range(stages))


def _member(key: str, value: object, known: Sequence[str] | Mapping[str, object]) -> None:
    if value not in known:
        raise ArchitectureError(f"{key}: '{value}' is unknown; {nearest(value, known)}")


def _integer(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArchitectureError(f"{key}: {value!r} is not a whole number of at least 1")
    return value


def _integers(key: str, values: object) -> tuple[int, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ArchitectureError(f"{key}: {values!r} is not a list of whole numbers, one a stage")
    return tuple([_integer(key, value) for value in values])


def _number(key: str, value: object, *, above: float | None = None, least: float | None = None) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or (above is not None and not value > above) or (least is not None and not value >= least):  # type: ignore[operator]
        bound = f"above {above:g}" if above is not None else f"of at least {least:g}" if least is not None else ""
        raise ArchitectureError(f"{key}: {value!r} is not a number {bound}".rstrip())
    return float(value)  # type: ignore[arg-type]


def _resolve_options(
    skip: str, given: Mapping[str, float] | Sequence[tuple[str, float]]
) -> tuple[tuple[str, float], ...]:
    options: list[tuple[str, float]] = [(key, value) for key, value in dict(given).items()]
    get_skip(skip, tuple(options))
    resolved = skip_options(skip) | {key: _number(f"skip_options.{key}", value) for key, value in options}
    return tuple(resolved.items())


def _dotted(values: tuple[int, ...]) -> str:
    return ".".join(map(str, values))


def _undotted(key: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError:
        raise ArchitectureError(f"{key}: '{text}' is not numbers joined by dots, such as 3.4.6.3") from None


def _parse_number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArchitectureError(f"{key}: '{text}' is not a number") from None


def _parse(key: str, text: str) -> Any:
    if key in ("strides",) or (key == "group_width" and "." in text):
        return _undotted(key, text)
    if key in ("bottleneck_ratio", "se_ratio"):
        return _parse_number(key, text)
    if key in ("kernel_size", "stem_width", "group_width"):
        return int(_parse_number(key, text))
    return text
