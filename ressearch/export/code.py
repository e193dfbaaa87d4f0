"""A network as a file of plain PyTorch: written for one architecture by its layers' own descriptions.

`write_code` returns the text. It needs torch alone; its state dict has the keys of `ressearch.build`'s network (of a
`Classifier`, where data are given), so the weights beside it load strictly.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ressearch.export.stages import Loop, loops
from ressearch.export.text import (
    LINE,
    Expression,
    class_name,
    lay_out,
    sequential,
    values,
    without_underscores,
    written_call,
)
from ressearch.export.units import UnitClass, Written, classes, name_classes, written
from ressearch.networks.architecture import Architecture
from ressearch.networks.attention import Attention
from ressearch.networks.blocks import get_block
from ressearch.networks.cost import cost, input_channels
from ressearch.networks.layers import ACTIVATIONS
from ressearch.networks.merges import Place
from ressearch.networks.plan import Plan, plan
from ressearch.networks.skips import SKIPS
from ressearch.networks.source import Call
from ressearch.shapes import Shape
from ressearch.version import __version__


@dataclass(frozen=True)
class Inputs:
    """What a classifier's inputs are, for code that takes them as the data hold them.

    Attributes:
        classes: names, in the order of the logits.
        is_pixels: whether they are bytes, 0 to 255.
        dtype: of the weights: ``float32``, ``float16`` or ``bfloat16``.
        weights: name of the file that holds the weights.
    """

    classes: tuple[str, ...]
    is_pixels: bool
    dtype: str = "float32"
    weights: str | None = None


def write_code(
    architecture: Architecture,
    input_shape: Shape = (3, 32, 32),
    num_classes: int | None = None,
    inputs: Inputs | None = None,
) -> str:
    """Return the text of a Python file that defines the network, and imports torch alone.

    Args:
        architecture: the network.
        input_shape: one input's, without the batch.
        num_classes: outputs; None as in `ressearch.build`.
        inputs: of a trained classifier: the file then defines a ``Classifier``, too, which normalises them; its state
            dict has the keys of `ressearch.export.Classifier`.

    Raises:
        ArchitectureError: a layer of a plugin does not say how it is written (`Layer.source`).
    """
    planned = plan(architecture, input_channels(input_shape), num_classes)
    blocks, found, placed = _units(architecture, planned, input_shape)
    used: list[Call] = []
    body = [*_network(architecture, planned, input_shape, blocks, placed, used)]
    units = [line for kind in found for line in ("", "", *_unit_class(kind, architecture, used))]
    helpers = [line for target in _helpers(used) for line in ("", "", *_text_of(target))]
    closing = _closing(architecture, input_shape, inputs)
    text = "\n".join((*helpers, *units, "", "", *body, *closing))
    header = [*_docstring(architecture, input_shape, num_classes, inputs), "", *_imports(text)]
    return "\n".join(header) + "\n" + text + "\n"


def _units(
    architecture: Architecture, planned: Plan, shape: Shape
) -> tuple[list[list[int]], list[UnitClass], list[tuple[UnitClass, int]]]:
    """Return units per block of each stage, flat; the classes; each unit's class and place in it."""
    count = sum(len(block.units) * times for stage in planned.stages for block, times in stage.runs)
    units: list[Written] = []
    names: dict[int, str] = {}
    sizes: list[list[int]] = []
    _, shape = planned.stem.trace(shape)
    for stage in planned.stages:
        if stage.transition:
            _, shape = stage.transition.trace(shape)
        sizes.append([])
        for block in stage.blocks:
            sizes[-1].append(len(block.units))
            for unit in block.units:
                is_attention = any(isinstance(one, Attention) for one in unit.branch)
                names[len(units)] = _base_name(architecture.block, is_attention, len(block.units) > 1)
                units.append(written(unit, Place(len(units), count), architecture.modality, shape))
                _, shape = unit.trace(shape)
    found, placed = classes(units)
    first = {id(kind): names[at] for at, (kind, _) in reversed(list(enumerate(placed)))}
    name_classes(found, {at: first[id(kind)] for at, kind in enumerate(found)})
    return sizes, found, placed


def _base_name(block: str, is_attention: bool, is_one_of_several: bool) -> str:
    if is_one_of_several:
        return "AttentionUnit" if is_attention else "MlpUnit"
    return "".join(word.capitalize() for word in re.split(r"\W+|_", block)) + "Block"


def _network(
    architecture: Architecture,
    planned: Plan,
    shape: Shape,
    sizes: Sequence[Sequence[int]],
    placed: Sequence[tuple[UnitClass, int]],
    used: list[Call],
) -> Iterator[str]:
    given = ", ".join(("batch", *map(str, shape)))
    outputs = planned.head.layers[-1].width  # type: ignore[attr-defined]
    yield "class Network(nn.Module):"
    yield f'    """Stem, {len(sizes)} stages of residual blocks, head: maps ({given}) to logits (batch, {outputs})."""'
    yield ""
    yield "    def __init__(self) -> None:"
    yield "        super().__init__()"
    yield from _chain("stem", [layer.source() for layer in planned.stem], used)
    stages, at = [], 0
    for stage, blocks in zip(planned.stages, sizes, strict=True):
        parts = []
        if stage.transition:
            calls = [layer.source() for layer in stage.transition]
            used += calls
            parts.append(sequential([written_call(one) for one in calls]))
        members = []
        for size in blocks:
            members.append(tuple((kind.name, kind.arguments(place)) for kind, place in placed[at : at + size]))
            at += size
        parts += [_loop(one) for one in loops(members)]
        stages.append(Expression("nn.Sequential", tuple(parts), is_tall=len(parts) > 1))
    yield from lay_out(sequential(stages), 8, before="self.stages = ")
    yield from _chain("head", [layer.source() for layer in planned.head], used)
    yield ""
    yield "    def forward(self, x: Tensor) -> Tensor:"
    yield "        return self.head(self.stages(self.stem(x)))"


def _chain(name: str, calls: Sequence[Call], used: list[Call]) -> Iterator[str]:
    used += calls
    yield from lay_out(sequential([written_call(one) for one in calls]), 8, before=f"self.{name} = ")


def _loop(loop: Loop) -> Expression:
    """Return blocks as arguments of ``nn.Sequential``."""
    units = [_made(name, arguments) for name, arguments in loop.units]
    if loop.count == 1:
        return units[0] if len(units) == 1 else Expression(", ".join(unit.line for unit in units))
    over = f"_ in range({loop.count})"
    if len(loop.varying) == 1:
        ((name, series),) = loop.varying.items()
        over = f"{name} in {values(series)}"
    elif loop.varying:
        columns = ", ".join(values(one) for one in loop.varying.values())
        over = f"{', '.join(loop.varying)} in zip({columns})"
    made = units[0].line
    if len(units) > 1:
        over, made = f"{over} for unit in ({', '.join(unit.line for unit in units)})", "unit"
    line = f"*({made} for {over})"
    return Expression(line) if len(line) <= LINE - 16 else _folded(made, over)


def _folded(made: str, over: str) -> Expression:
    """Return a loop that is too long for one line."""
    inner = textwrap.wrap(f"for {over}", LINE - 24, break_long_words=False, break_on_hyphens=False)
    indent = "\n" + " " * 20
    return Expression("*(" + indent + made + indent + indent.join(inner) + "\n" + " " * 16 + ")")


def _made(name: str, arguments: dict[str, object]) -> Expression:
    given = [
        Expression(str(value) if key in ("in_width", "width") else f"{key}={value}") for key, value in arguments.items()
    ]
    return Expression(name, tuple(given))


def _unit_class(kind: UnitClass, architecture: Architecture, used: list[Call]) -> Iterator[str]:
    first = kind.units[0]
    parameters = "".join(
        f", {name}: {'int' if all(isinstance(one, int) for one in series) else 'float'}"
        for name, series in kind.parameters.items()
    )
    yield f"class {kind.name}(nn.Module):"
    yield f'    """{_summary(architecture, first)}"""'
    yield ""
    yield f"    def __init__(self{parameters}) -> None:"
    yield "        super().__init__()"
    texts = iter(kind.texts)
    for name, calls in first.parts:
        used += calls
        written_calls = [written_call(one, texts) for one in calls]
        if not calls:
            continue
        expression = sequential(written_calls)
        if name == "after" and len(calls) == 1 and calls[0].target in ACTIVATIONS.values():
            expression = written_calls[0]
        yield from lay_out(expression, 8, before=f"self.{name} = ")
    if first.meeting is not None and first.meeting.module is not None:
        used.append(first.meeting.module)
        yield from lay_out(written_call(first.meeting.module, texts), 8, before="self.merge = ")
    if _uses_shortcut(kind):
        yield from _shortcuts(kind, used)
    yield ""
    yield "    def forward(self, x: Tensor) -> Tensor:"
    yield from _forward(kind)


def _uses_shortcut(kind: UnitClass) -> bool:
    return kind.units[0].meeting is not None and any(calls for _, calls, _ in kind.shortcuts)


def _shortcuts(kind: UnitClass, used: list[Call]) -> Iterator[str]:
    for at, (condition, calls, numbers) in enumerate(kind.shortcuts):
        used += calls
        indent = 8
        if len(kind.shortcuts) > 1:
            indent = 12
            word = "if" if at == 0 else "elif"
            yield f"        {word} {condition}:" if condition else "        else:"
        texts = iter(numbers)
        expression = sequential([written_call(one, texts) for one in calls]) if calls else Expression("nn.Identity", ())
        yield from lay_out(expression, indent, before="self.shortcut = ")


def _forward(kind: UnitClass) -> Iterator[str]:
    first = kind.units[0]
    parts = dict(first.parts)
    if parts["before"]:
        yield "        x = self.before(x)"
    out = "self.branch(x)"
    if first.meeting is not None:
        names = {"residual": "self.branch(x)", "shortcut": "self.shortcut(x)" if _uses_shortcut(kind) else "x"}
        out = re.sub(r"(?<![\w.])(residual|shortcut)\b", lambda found: names[found[1]], first.meeting.expression)
    yield f"        return self.after({out})" if parts["after"] else f"        return {out}"


def _summary(architecture: Architecture, unit: Written) -> str:
    doc = inspect.getdoc(get_block(architecture.block).branches) or architecture.block
    summary = doc.split("\n")[0].split(". ")[0].rstrip(".:")
    formula = SKIPS[architecture.skip].formula if unit.meeting is not None else "F(x)"
    first = f"{summary}; y = {formula}."
    return first if len(first) <= LINE - 10 else f"{architecture.block}: y = {formula}."


def _helpers(calls: Sequence[Call]) -> list[type]:
    """Return the classes whose text the file needs, in the order in which they are used."""
    targets = dict.fromkeys(one.target for call in calls for one in call.calls)
    return [target for target in targets if not class_name(target).startswith("nn.")]


def _text_of(target: type) -> list[str]:
    return without_underscores(inspect.getsource(target), target.__name__).rstrip().split("\n")


def _imports(text: str) -> Iterator[str]:
    yield "from __future__ import annotations"
    yield ""
    needs_any = re.search(r"\bAny\b", text) is not None
    if needs_any:
        yield "from typing import Any"
        yield ""
    if re.search(r"\btorch\.", text):
        yield "import torch"
    yield "from torch import Tensor, nn"
    if re.search(r"\bfunctional\.", text):
        yield "from torch.nn import functional"


def _docstring(
    architecture: Architecture, shape: Shape, num_classes: int | None, inputs: Inputs | None
) -> Iterator[str]:
    price = cost(architecture, shape, num_classes)
    sides = " x ".join(map(str, shape))
    text = (
        f"{price.params:,} parameters and {price.macs:,} multiply-accumulates (FLOPs = 2 x MACs) for one input of "
        f"{sides}. Written by ressearch {__version__} from its description of the network; needs torch alone."
    )
    yield from textwrap.wrap(f'"""{architecture.name}: a residual network of depth {architecture.depth}.', LINE)
    yield ""
    yield from textwrap.wrap(text, LINE)
    yield ""
    if inputs is not None and inputs.weights is not None:
        yield f'    classifier = load("{inputs.weights}")  # the package safetensors reads it'
        yield "    logits = classifier(inputs)  # as the data hold them: they are normalised here"
    elif inputs is None:
        yield "    network = Network()  # weights are torch's own starting values until a state dict is loaded"
    yield '"""'


def _tuple(names: Sequence[str]) -> Expression:
    if len(names) == 1:
        return Expression(f"({json.dumps(names[0], ensure_ascii=False)},)")
    return Expression("", tuple(Expression(json.dumps(one, ensure_ascii=False)) for one in names))


def _closing(architecture: Architecture, shape: Shape, inputs: Inputs | None) -> Iterator[str]:
    """Yield the classifier, the loader and what the file does when it is run."""
    made = "Network()"
    example = f"torch.zeros(2, {', '.join(map(str, shape))})"
    if inputs is not None:
        made = "Classifier()"
        example = example[:-1] + (", dtype=torch.uint8)" if inputs.is_pixels else ")")
        statistics = (shape[0], 1, 1) if len(shape) == 3 else shape[-1:]
        sides = ", ".join(map(str, statistics))
        cast = "" if inputs.dtype == "float32" else f".to(torch.{inputs.dtype})"
        normalised = "(inputs.float() - self.mean) / self.std"
        made, normalised = made + cast, f"({normalised}){cast}" if cast else normalised
        yield from ("", "")
        yield "class Classifier(nn.Module):"
        yield '    """The network with the statistics of its training data, by which inputs are normalised."""'
        yield ""
        yield from lay_out(_tuple(inputs.classes), 4, before="classes = ")
        yield ""
        yield "    def __init__(self) -> None:"
        yield "        super().__init__()"
        yield "        self.network = Network()"
        yield f'        self.register_buffer("mean", torch.zeros({sides}))'
        yield f'        self.register_buffer("std", torch.ones({sides}))'
        yield ""
        yield "    def forward(self, inputs: Tensor) -> Tensor:"
        yield f"        return self.network({normalised})"
        if inputs.weights is not None:
            yield from ("", "")
            yield "def load(path: str) -> Classifier:"
            yield '    """Return the trained classifier, its weights read from a .safetensors file."""'
            yield "    from safetensors.torch import load_file"
            yield ""
            yield "    classifier = Classifier()"
            yield "    classifier.load_state_dict(load_file(path), assign=True)"
            yield "    return classifier.eval()"
    yield from ("", "")
    yield 'if __name__ == "__main__":'
    if inputs is not None and inputs.weights is not None:
        yield "    import sys"
        yield ""
        made = f"load(sys.argv[1]) if len(sys.argv) > 1 else {made}"
    yield f"    model = {made}"
    yield "    parameters = sum(parameter.numel() for parameter in model.parameters())"
    yield "    with torch.inference_mode():"
    yield f"        shape = tuple(model.eval()({example}).shape)"
    yield '    print(f"{parameters:,} parameters; logits of shape {shape}")'
