"""A model card: what a trained network is, what it was trained on and how, what it reached, and how to load it.

Markdown with YAML front matter, as model hubs read it (`Mitchell et al. 2019 <https://arxiv.org/abs/1810.03993>`_).
Every figure is one that was measured or counted; what is not known is left out.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ressearch import durable
from ressearch.export.sources import Trained
from ressearch.networks.architecture import Architecture
from ressearch.networks.blocks import get_block
from ressearch.networks.cost import cost
from ressearch.networks.skips import SKIPS
from ressearch.shapes import Shape
from ressearch.training.classifier import Classifier
from ressearch.units import format_milliseconds
from ressearch.version import __version__


@dataclass(frozen=True)
class Score:
    """What networks reached on a part of the data.

    Attributes:
        name: ``accuracy``, a fraction.
        part: ``validation`` or ``test``.
        values: of each seed.
        words: which seeds these are.
    """

    name: str
    part: str
    values: tuple[float, ...]
    words: str

    @property
    def mean(self) -> float:
        """Over seeds."""
        return sum(self.values) / len(self.values)

    @property
    def interval(self) -> str:
        """The 95 % interval of the mean over seeds (Student's t); a dash for one seed."""
        if len(self.values) < 2:
            return "–"
        from ressearch.statistics.intervals import mean_interval

        found = mean_interval(self.values).within(0.0, 1.0)
        return f"{found.low:.4f} to {found.high:.4f}"


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        title: of the page.
        architecture, input_shape, input_dtype, classes: the network, and what it maps to what.
        data: of the training data: ``name``, ``source``, ``examples`` (by part), and what else is known.
        recipe: how it was trained, as JSON holds it.
        weights: where these weights come from, in one line.
        scores: what it reached.
        latency: seconds of a forward pass of one input, and on what; None where nobody measured it.
        notes: further sentences.
        run: the command or study that it comes from.
        dtype: of the weights.
        is_chosen: the network, or its seed, was chosen by its validation accuracy.
    """

    title: str
    architecture: Architecture
    input_shape: Shape
    input_dtype: str
    classes: tuple[str, ...]
    data: Mapping[str, Any]
    recipe: Mapping[str, Any]
    weights: str
    scores: tuple[Score, ...]
    latency: tuple[float, str] | None = None
    notes: tuple[str, ...] = ()
    run: str = ""
    dtype: str = "float32"
    is_chosen: bool = True


def card_of(found: Trained, run: Mapping[str, Any], classifier: Classifier, notes: Sequence[str] = ()) -> Card:
    """Return the card of one of a study's networks.

    Args:
        found: the network.
        run: of its study (`run.json`).
        classifier: as it is written: its precision may be another.
        notes: further sentences.
    """
    record, source = found.record, found.source or found.record
    data = run.get("study", {}).get("data", {})
    scores = [Score("accuracy", "validation", (found.val_accuracy,), f"these weights, seed {found.seed}")]
    if record.seed_val_accuracies:
        scores.append(
            Score("accuracy", "validation", record.seed_val_accuracies, f"trial {record.trial}, {_seeds(record.seeds)}")
        )
    if source is not record and source.seed_val_accuracies:
        words = f"finalist (trial {source.trial}), {_seeds(source.seeds)}"
        scores.append(Score("accuracy", "validation", source.seed_val_accuracies, words))
    if source.seed_test_accuracies:
        words = f"finalist (trial {source.trial}), {_seeds(source.seeds)}, scored once"
        scores.append(Score("accuracy", "test", source.seed_test_accuracies, words))
    latency = record.row.get("latency")
    where = str(record.row.get("device") or "")
    return Card(
        f"{record.name}, {data.get('name', 'data')}",
        record.architecture,
        classifier.input_shape,
        str(classifier.input_dtype).removeprefix("torch."),
        classifier.classes,
        {
            "name": data.get("name"),
            "source": run.get("data_source"),
            "examples": run.get("examples", {}),
            "split_fingerprint": run.get("split_fingerprint"),
        },
        {**json.loads(source.row["recipe"]), "seeds": [found.seed]},
        found.words,
        tuple(scores),
        (float(latency), where) if isinstance(latency, float) and latency > 0 else None,
        tuple(notes),
        f"trial {record.trial} of the study '{run.get('name')}'",
        str(classifier.dtype).removeprefix("torch."),
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def card_text(card: Card, files: Sequence[Path]) -> str:
    """Return a card as Markdown.

    Args:
        card: what it says.
        files: that stand beside it, the one to load first.
    """
    parts = [
        _front_matter(card, files[0]),
        f"# {card.title}",
        f"{_sentence(card.architecture)}\n\n{card.weights[0].upper()}{card.weights[1:]}."
        + "".join(f" {note[0].upper()}{note[1:]}." for note in card.notes),
        "## Use",
        *_uses(card, files),
        "## What it reached",
        _scores(card),
        "## What it costs",
        _costs(card),
        "## The network",
        f"```json\n{json.dumps(card.architecture.to_dict())}\n```",
        "## Data",
        _data(card),
        "## Recipe",
        f"```yaml\n{yaml.safe_dump(dict(card.recipe), sort_keys=False).rstrip()}\n```",
        "## Licence",
        "Not stated here: whoever publishes these weights states it, and the terms of the data hold too. Code that "
        "ressearch writes is under Apache-2.0, as ressearch is.",
        f"Written by ressearch {__version__}" + (f" from {card.run}." if card.run else "."),
    ]
    return "\n\n".join(parts) + "\n"


def write_card(card: Card, path: Path, files: Sequence[Path]) -> None:
    """Write a card, whole or not at all. Raises OSError."""
    durable.replace_text(path, card_text(card, files))


def card_file(file: Path) -> Path:
    """Return the card that stands beside a file: ``net.onnx.md`` beside ``net.onnx``."""
    return file.with_name(f"{file.name}.md")


def _front_matter(card: Card, file: Path) -> str:
    kind = {1: "tabular-classification", 3: "image-classification"}.get(len(card.input_shape), "other")
    results = [
        {
            "task": {"type": kind},
            "dataset": {"name": card.data.get("name"), "type": card.data.get("name"), "split": score.part},
            "metrics": [{"type": score.name, "value": round(score.mean, 6), "name": f"{score.name} ({score.words})"}],
        }
        for score in card.scores
    ]
    values = {
        "library_name": "ressearch",
        "license": "unknown",
        "pipeline_tag": kind,
        "tags": ["residual-network", card.architecture.block, f"depth-{card.architecture.depth}", file.suffix[1:]],
        "datasets": [card.data.get("name")],
        "metrics": ["accuracy"],
        "model-index": [{"name": card.architecture.name, "results": results}],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip()}\n---"


def _sentence(architecture: Architecture) -> str:
    """Return what kind of network it is, in one line."""
    doc = inspect.getdoc(get_block(architecture.block).branches) or architecture.block
    summary = doc.split("\n")[0].split(". ")[0].rstrip(".:")
    stages = " + ".join(map(str, architecture.depths))
    widths = ", ".join(map(str, architecture.widths))
    return (
        f"`{architecture.name}`: a residual network of depth {architecture.depth}, {stages} blocks of widths {widths}; "
        f"{summary}; y = {SKIPS[architecture.skip].formula}."
    )


def _uses(card: Card, files: Sequence[Path]) -> Iterator[str]:
    shape = ", ".join(map(str, card.input_shape))
    made = "from 0 to 255" if card.input_dtype == "uint8" else "as the data hold them"
    inputs = f"inputs = torch.zeros(1, {shape}, dtype=torch.{card.input_dtype})  # {made}: normalised inside"
    yield f"Maps {card.input_dtype} (batch, {shape}) to logits (batch, {len(card.classes)})" + (
        f", computed in {card.dtype}." if card.dtype != "float32" else "."
    )
    for file in files:
        if file.suffix in (".safetensors", ".pt"):
            yield "With ressearch (`pip install ressearch`):"
            load = f'from ressearch.export import load\n\nclassifier = load("{file.name}")'
            ends = "logits = classifier(inputs)\nprint(classifier.classes[logits.argmax(1).item()])"
        elif file.suffix == ".py":
            weights = file.with_suffix(".safetensors").name
            yield "With torch alone (and safetensors, which reads the weights):"
            load = f'import runpy\n\nclassifier = runpy.run_path("{file.name}")["load"]("{weights}")'
            ends = "logits = classifier(inputs)\nprint(classifier.classes[logits.argmax(1).item()])"
        elif file.suffix == ".pt2":
            yield "With torch alone:"
            load, ends = f'classify = torch.export.load("{file.name}").module()', "logits = classify(inputs)"
        else:
            yield "With onnxruntime:"
            load = f'import onnxruntime\n\nsession = onnxruntime.InferenceSession("{file.name}")'
            ends = 'logits = session.run(None, {"inputs": inputs.numpy()})[0]'
        imports, _, rest = load.rpartition("\n\n")
        imports = "\n".join(sorted(["import torch", *filter(None, [imports])]))
        yield f"```python\n{imports}\n\n{rest}\n{inputs}\n{ends}\n```"


def _scores(card: Card) -> str:
    lines = ["| part | accuracy | 95 % interval over seeds | of |", "| --- | --- | --- | --- |"]
    lines += [f"| {one.part} | {one.mean:.4f} | {one.interval} | {one.words} |" for one in card.scores]
    if not card.scores:
        return "No score exists: no examples were held out."
    if not card.is_chosen:
        return "\n".join(lines)
    chosen = "Networks, and the seed of several, are chosen by validation accuracy, which therefore flatters them"
    is_tested = any(one.part == "test" for one in card.scores)
    return "\n".join([*lines, "", f"{chosen}; test accuracy does not." if is_tested else f"{chosen}."])


def _costs(card: Card) -> str:
    price = cost(card.architecture, card.input_shape, len(card.classes))
    rows = [
        ("parameters", f"{price.params:,}"),
        ("multiply-accumulates", f"{price.macs:,} (FLOPs = 2 × MACs)"),
        ("activations", f"{price.activations:,}"),
    ]
    if card.latency is not None:
        seconds, where = card.latency
        rows.append(("latency", f"{format_milliseconds(seconds)}, median of one input on {where}"))
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def _data(card: Card) -> str:
    examples = ", ".join(f"{count:,} {part}" for part, count in card.data.get("examples", {}).items())
    lines = [f"`{card.data.get('name')}`: {card.data.get('source') or 'no description'}"]
    lines += [f"Examples: {examples}."] if examples else []
    if card.data.get("split_fingerprint"):
        lines.append(f"Split `{card.data['split_fingerprint']}`.")
    names = ", ".join(card.classes[:20]) + (", …" if len(card.classes) > 20 else "")
    return "\n".join([*lines, f"{len(card.classes)} classes: {names}."])


__all__ = ["Card", "Score", "card_file", "card_of", "card_text", "write_card"]
