"""Architecture: the frozen, hashable description of one residual network.

Everything else is derived from it: `plan` and `build` (network.py) make the torch module, `cost` (cost.py) says what
it costs, `name` and `to_json` write it down. The field names follow the papers; see the class docstring.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from ressearch.errors import ArchitectureError, nearest
from ressearch.limits import ARCHITECTURE, MOST_BLOCKS, MOST_STAGES, OPTION, short
from ressearch.networks.blocks import BLOCKS, SE_POSITIONS, ends_in_norm, get_block, weighted_layers
from ressearch.networks.compatibility import check
from ressearch.networks.layers import ACTIVATIONS, NORMS
from ressearch.networks.shortcuts import SHORTCUTS
from ressearch.networks.skips import SKIPS, get_skip, resolve_options
from ressearch.networks.stems import STEMS
from ressearch.registry import Registry

NORM_ORDERS = ("post", "pre")

_BY_BLOCK = ("bottleneck_ratio", "se_position", "kernel_size", "activation", "norm", "norm_order", "shortcut", "stem")
"""Fields whose default is the block type's published value."""


class Entry(NamedTuple):
    """Channels and stride on entering a stage: before and after its transition (if any); its first block's stride."""

    in_width: int
    width: int
    has_transition: bool
    stride: int


@dataclass(frozen=True)
class Architecture:
    """One residual network: stem, stages of blocks, classifier.

    A field left at None takes the default given in square brackets. The object holds the resolved values, so that equal
    networks compare equal.

    Args:
        block: residual branch: a name in `ressearch.networks.blocks.BLOCKS`.
        depths: blocks per stage.
        widths: output channels per stage [16, doubled at each later stage].
        strides: stride of each stage's first block [the stem's published one, then 2; all 1 for vectors and sequences].
        bottleneck_ratio: inner width / output width (inverted blocks: / *input* width, as their papers do), one number
            or one per stage [basic 1, bottleneck 0.25, inverted 4].
        group_width: channels per group of the spatial convolution (of transformers: channels per head), one number or
            one per stage; None is dense.
        se_ratio: squeeze-excitation width / block input width (``outer``: / the branch's own width); 0 is none.
        se_position: ``inner``, after the spatial convolution (RegNetY, EfficientNet), or ``outer``, at the end of the
            branch (SE-ResNet).
        kernel_size: side of the spatial convolutions, odd, one number or one per stage [3; convnext 7].
        activation: ``relu``, ``silu`` or ``gelu`` [relu; convnext and transformer gelu].
        norm: ``batch``, ``group``, ``layer`` or ``none`` [batch; convnext and transformer layer].
        norm_order: ``post`` (He et al. 2015) or ``pre`` (full pre-activation, He et al. 2016) [post; mlp and
            transformer pre].
        dropout: rate before the last weighted layer of each branch (transformer: at its end), in training.
        zero_gamma: whether the gain of the norm that ends a branch starts at 0, so that F(x) = 0 at first
            (Goyal et al. 2017).
        skip: how x and F(x) meet: a name in `ressearch.networks.skips.SKIPS`; ``none`` is the plain network.
        skip_options: options of the skip style, as pairs of name and value [the published values].
        shortcut: how x matches a new shape: a name in `ressearch.networks.shortcuts.SHORTCUTS` [projection; inverted
            blocks none]. Stored as the default where the skip style has no shortcut.
        stem: a name in `ressearch.networks.stems.STEMS` [cifar; linear for vectors and sequences].
        stem_width: output channels of the stem [widths[0], for bottlenecks its inner width].
        head_width: channels of a 1x1 convolution before the pooling (EfficientNet); None: no such convolution.

    Raises:
        ArchitectureError: a field has a value that describes no network; the text names field, value and remedy.

    Examples:
        >>> Architecture(depths=(9, 9, 9), widths=(16, 32, 64)).depth
        56
    """

    block: str = "basic"
    depths: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = None  # type: ignore[assignment]
    strides: tuple[int, ...] = None  # type: ignore[assignment]
    bottleneck_ratio: float | tuple[float, ...] = None  # type: ignore[assignment]
    group_width: int | tuple[int, ...] | None = None
    se_ratio: float = 0.0
    se_position: str = None  # type: ignore[assignment]
    kernel_size: int | tuple[int, ...] = None  # type: ignore[assignment]
    activation: str = None  # type: ignore[assignment]
    norm: str = None  # type: ignore[assignment]
    norm_order: str = None  # type: ignore[assignment]
    dropout: float = 0.0
    zero_gamma: bool = False
    skip: str = "identity"
    skip_options: tuple[tuple[str, float], ...] = ()
    shortcut: str = None  # type: ignore[assignment]
    stem: str = None  # type: ignore[assignment]
    stem_width: int = None  # type: ignore[assignment]
    head_width: int | None = None

    def __post_init__(self) -> None:
        values = self.__dict__  # frozen: written here alone
        kind = get_block(self.block)
        for key in _BY_BLOCK:
            if values[key] is None:
                values[key] = kind.defaults[key]
        for key, known in _KNOWN:
            if not isinstance(values[key], str) or values[key] not in known:
                raise ArchitectureError(f"{key}: {short(values[key])} is unknown; {nearest(values[key], known)}")
        values["depths"] = _integers("depths", self.depths)
        stages = len(self.depths)
        if sum(self.depths) > MOST_BLOCKS:
            raise ArchitectureError(f"depths: {sum(self.depths)} blocks are above {MOST_BLOCKS}, the most there can be")
        for key in ("bottleneck_ratio", "group_width", "kernel_size"):
            values[key] = _per_stage(key, values[key], stages)
        kernels = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,)
        for kernel in kernels:
            if kernel % 2 == 0:
                raise ArchitectureError(f"kernel_size: {kernel} is even; expected an odd side")
        values["se_ratio"] = _number("se_ratio", self.se_ratio)
        values["dropout"] = _number("dropout", self.dropout)
        if self.dropout >= 1:
            raise ArchitectureError(f"dropout: {self.dropout:g} is not a fraction below 1")
        if not isinstance(self.zero_gamma, bool):
            raise ArchitectureError(f"zero_gamma: {short(self.zero_gamma)} is not true or false")
        values["skip_options"] = resolve_options(self.skip, _options(self.skip_options))
        if not SKIPS[self.skip].has_shortcut:
            values["shortcut"] = kind.defaults["shortcut"]
        self._settle_widths(stages)
        if self.head_width is not None:
            _integer("head_width", self.head_width)
        self._refuse_nonsense()

    def _settle_widths(self, stages: int) -> None:
        values = self.__dict__
        if self.widths is not None:  # the stem's width follows from them
            values["widths"] = _integers("widths", self.widths)
        for key in ("stem_width", "widths", "strides"):
            if values[key] is None:
                values[key] = self._default(key)
        values["stem_width"] = _integer("stem_width", self.stem_width)
        for key in ("widths", "strides"):
            values[key] = numbers = _integers(key, values[key])
            if len(numbers) != stages:
                raise ArchitectureError(
                    f"{key}: {list(numbers)} has {len(numbers)} stages, depths {list(self.depths)} has {stages}"
                )
        expected = get_skip(self.skip, self.skip_options).widths(self.stem_width, self.depths)
        if expected is not None and self.widths != expected:
            options = ", ".join(f"{option} {value:g}" for option, value in self.skip_options)
            raise ArchitectureError(
                f"widths: {list(self.widths)} do not follow from {options}, which gives {list(expected)}; "
                "leave widths out"
            )

    def _refuse_nonsense(self) -> None:
        kind, stem, style = get_block(self.block), STEMS[self.stem], SKIPS[self.skip]
        if kind.modality not in stem.modalities:
            fitting = [name for name, one in STEMS.items() if kind.modality in one.modalities]
            raise ArchitectureError(
                f"stem: '{self.stem}' is not compatible with block '{self.block}': it takes "
                f"{'s or '.join(stem.modalities)}s, the block works on {kind.modality}s; "
                f"expected {' or '.join(fitting)}"
            )
        if kind.modality != "image" and any(stride != 1 for stride in self.strides):
            raise ArchitectureError(
                f"strides: {list(self.strides)} are not compatible with block '{self.block}': it has no pixels to skip"
            )
        check(self, (("block", self.block, kind.rules), ("skip", self.skip, style.rules)))
        if self.zero_gamma and not ends_in_norm(self.block, self.norm, self.norm_order):
            raise ArchitectureError(
                f"zero_gamma: true is not compatible with block '{self.block}', norm '{self.norm}' and norm_order "
                f"'{self.norm_order}': no norm ends the branch"
            )

    def _default(self, key: str) -> Any:
        """Return what a field is when nobody sets it, given the other fields."""
        kind = get_block(self.block)
        if key in _BY_BLOCK:
            return kind.defaults[key]
        if key == "widths":
            derived = get_skip(self.skip, self.skip_options).widths(self.stem_width, self.depths)
            return derived or tuple(16 * 2**stage for stage in range(len(self.depths)))
        if key == "strides":
            if kind.modality != "image":
                return (1,) * len(self.depths)
            return (STEMS[self.stem].first_stride,) + (2,) * (len(self.depths) - 1)
        if key == "stem_width":
            given = self.widths[0] if isinstance(self.widths, list | tuple) and self.widths else None
            published = get_skip(self.skip, self.skip_options).stem_width(given)
            if published is not None:
                return published
            width = 16 if given is None else given
            ratio = self.bottleneck_ratio[0] if isinstance(self.bottleneck_ratio, tuple) else self.bottleneck_ratio
            return max(1, round(width * min(1.0, ratio)))
        if key == "skip_options":
            return resolve_options(self.skip, ())
        return _FIELDS[key].default

    @property
    def modality(self) -> str:
        """The kind of input: ``image``, ``vector`` or ``sequence``."""
        return get_block(self.block).modality

    @property
    def depth(self) -> int:
        """The papers' depth: weighted layers on the main path (stem, branches, transitions, classifier)."""
        layers = STEMS[self.stem].weighted + (self.head_width is not None) + 1
        for stage, (blocks, entry) in enumerate(zip(self.depths, self.entries, strict=True)):
            a_block = weighted_layers(self.block, self.at_stage("bottleneck_ratio", stage))
            layers += entry.has_transition + blocks * a_block
        return layers

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Channels and stride on entering each stage."""
        kind, style = get_block(self.block), get_skip(self.skip, self.skip_options)
        entries, in_width = [], self.stem_width
        for stage, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            entered = style.entry_width(in_width, stage)
            if entered is None:
                entered = width if kind.transition else None
            if entered is None:
                entries.append(Entry(in_width, in_width, False, stride))
            else:
                entries.append(Entry(in_width, entered, entered != in_width or stride != 1, 1))
            in_width = width
        return tuple(entries)

    @property
    def default_classes(self) -> int:
        """Classes of the data the stem was published for: 10 (`cifar`, `linear`) or 1000 (the others)."""
        return STEMS[self.stem].classes

    def at_stage(self, key: str, stage: int) -> Any:
        """Return a field that may be one number or one per stage, at a stage."""
        value = getattr(self, key)
        return value[stage] if isinstance(value, tuple) else value

    @classmethod
    def preset(cls, name: str) -> Architecture:
        """Return a published network, such as ``resnet56-cifar``. `ressearch.presets()` lists the names.

        Raises ArchitectureError with the nearest name if there is no such preset.
        """
        return PRESETS.find(name)

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
        """Read `to_json`'s output. Raises ArchitectureError if the text is not such an object."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            said = "brackets within brackets" if isinstance(error, RecursionError) else str(error).splitlines()[0]
            raise ArchitectureError(f"not JSON: {said}") from None
        if not isinstance(values, dict):
            raise ArchitectureError(f"expected a JSON object of Architecture fields, got {type(values).__name__}")
        return cls.from_dict(values)

    def replace(self, **changes: Any) -> Architecture:
        """Return a copy with some fields changed; defaults that were filled in stay, even if they depend on those."""
        return replace(self, **changes)


PRESETS: Registry[Architecture] = Registry("presets", ArchitectureError, "preset {name} is unknown")
"""Published networks by name; `ressearch.networks.presets` fills it."""

_FIELDS = {field.name: field for field in fields(Architecture)}

CHOICES: dict[str, Callable[[], Sequence[str]]] = {
    "block": lambda: tuple(BLOCKS),
    "se_position": lambda: tuple(SE_POSITIONS),
    "activation": lambda: tuple(ACTIVATIONS),
    "norm": lambda: tuple(NORMS),
    "norm_order": lambda: NORM_ORDERS,
    "skip": lambda: tuple(SKIPS),
    "shortcut": lambda: tuple(SHORTCUTS),
    "stem": lambda: tuple(STEMS),
}
"""The named choices of each categorical field."""

_KNOWN: tuple[tuple[str, Mapping[str, object] | Sequence[str]], ...] = (
    ("se_position", SE_POSITIONS),
    ("activation", ACTIVATIONS),
    ("norm", NORMS),
    ("norm_order", NORM_ORDERS),
    ("skip", SKIPS),
    ("shortcut", SHORTCUTS),
    ("stem", STEMS),
)


def _options(options: Any) -> tuple[tuple[str, float], ...]:
    """Return a skip style's options as pairs of names and finite numbers."""
    try:
        items = tuple((str(option), number) for option, number in dict(options).items())
    except (TypeError, ValueError):
        raise ArchitectureError(f"skip_options: {short(options)} is not a mapping of options to numbers") from None
    for option, number in items:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ArchitectureError(f"skip_options.{short(option)}: {short(number)} is not a number")
        if (why := ARCHITECTURE.get(option, OPTION).refusal(number)) is not None:
            raise ArchitectureError(f"skip_options.{short(option)}: {why}")
    return items


def _integer(key: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ArchitectureError(f"{key}: {short(value)} is not a whole number of at least 1")
    return int(_within(key, value))


def _integers(key: str, values: object) -> tuple[int, ...]:
    if not isinstance(values, list | tuple) or not values:
        raise ArchitectureError(f"{key}: {short(values)} is not a list of whole numbers, one per stage")
    if len(values) > MOST_STAGES:
        raise ArchitectureError(f"{key}: {len(values)} stages are above {MOST_STAGES}, the most there can be")
    return tuple([_integer(key, value) for value in values])


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArchitectureError(f"{key}: {short(value)} is not a number")
    return float(_within(key, value))


def _within(key: str, value: Any) -> Any:
    if (why := ARCHITECTURE[key].refusal(value)) is not None:
        raise ArchitectureError(f"{key}: {why}")
    return value


def _per_stage(key: str, value: Any, stages: int) -> Any:
    """Check a field of one number, or one per stage; equal ones are one."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        if len(value) != stages:
            raise ArchitectureError(f"{key}: {short(list(value))} has {len(value)} stages, not {stages}")
        if any(isinstance(one, list | tuple) for one in value):
            raise ArchitectureError(f"{key}: {short(list(value))} is a list of lists; expected one number per stage")
        numbers = tuple([_per_stage(key, one, stages) for one in value])
        if any(one is None for one in numbers):
            raise ArchitectureError(f"{key}: {short(list(value))} leaves a stage open; expected one number per stage")
        return numbers[0] if len(set(numbers)) == 1 else numbers
    return _number(key, value) if key == "bottleneck_ratio" else _integer(key, value)


def _dotted(values: tuple[float, ...]) -> str:
    return (":" if isinstance(values[0], float) else ".").join(map(str, values))


def _undotted(key: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(".", MOST_STAGES + 1))
    except ValueError:
        raise ArchitectureError(f"{key}: {short(text)} is not numbers joined by dots, such as 3.4.6.3") from None


def _parse_number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArchitectureError(f"{key}: {short(text)} is not a number") from None


def _parse_whole(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArchitectureError(f"{key}: {short(text)} is not a whole number") from None


def _parse(key: str, text: str) -> Any:
    """Read a field's value in a name."""
    if key == "strides" or (key in ("group_width", "kernel_size") and "." in text):
        return _undotted(key, text)
    if key == "bottleneck_ratio" and ":" in text:
        return tuple(_parse_number(key, part) for part in text.split(":", MOST_STAGES + 1))
    if key in ("bottleneck_ratio", "se_ratio", "dropout"):
        return _parse_number(key, text)
    if key == "zero_gamma" and text in ("True", "False"):
        return text == "True"
    if key in ("kernel_size", "stem_width", "group_width", "head_width"):
        return None if text == "None" else _parse_whole(key, text)
    return text
