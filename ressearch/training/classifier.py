"""A trained network with what its inputs need, and the file of its weights (safetensors), which says all of it.

Such a file is what a study keeps of its trials and what `ressearch.export` writes: the description is in its metadata,
so that it loads without the data it was trained on.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from ressearch.data import Dataset, Splits
from ressearch.data.splits import Split
from ressearch.networks.architecture import Architecture
from ressearch.networks.build import build
from ressearch.networks.cost import input_channels
from ressearch.networks.module import ResidualNetwork
from ressearch.shapes import Shape

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""What weights may be written as."""

_INPUTS = {"uint8": torch.uint8, "float32": torch.float32}

_KEY, _NOTES = "ressearch", "trained"
"""Keys of a file's metadata: the description, and how it was trained."""

_BATCH = 256


class Classifier(nn.Module):
    """A trained network with what its inputs need: maps inputs as the data hold them to logits.

    Attributes:
        network: the trained network.
        mean, std: of the training data, by channel (feature); inputs are normalised by them, in float32.
        classes: the classes' names, in the order of the logits.
        input_shape: one input's shape, without the batch.
        input_dtype: as the data hold inputs: ``torch.uint8`` (pixels) or ``torch.float32``. Called from Python a
            classifier takes either; a program that `ressearch.export.save` writes takes this one alone.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: ResidualNetwork,
        mean: Tensor,
        std: Tensor,
        classes: Sequence[str],
        input_shape: Shape,
        input_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.network, self.classes, self.input_shape = network, tuple(classes), tuple(input_shape)
        self.input_dtype = input_dtype
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's weights, and of the logits."""
        return next(self.network.parameters()).dtype

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (batch, *input_shape), pixels or numbers as the data hold them, to logits (batch, classes)."""
        logits: Tensor = self.network(((inputs.to(self.mean.dtype) - self.mean) / self.std).to(self.dtype))
        return logits

    def with_dtype(self, dtype: torch.dtype) -> Classifier:
        """Return a copy whose network computes in another precision; inputs are normalised as before."""
        other = copy.deepcopy(self)
        other.network.to(dtype)
        return other


def classifier_of(
    architecture: Architecture, state: Mapping[str, Tensor], splits: Splits, classes: Sequence[str], input_dtype: str
) -> Classifier:
    """Return a trained network as a classifier, on the CPU, in evaluation mode.

    Args:
        architecture: the network.
        state: of the network, as `ressearch.training.replicates.Replicates.state` returns it.
        splits: what it was trained on.
        classes: their names.
        input_dtype: as `input_dtype_of` returns it.
    """
    shape = splits.train.input_shape
    network = build(architecture, input_channels(shape), len(classes))
    network.load_state_dict(dict(state))
    return Classifier(network, splits.mean.cpu(), splits.std.cpu(), classes, shape, _INPUTS[input_dtype]).eval()


def input_dtype_of(dataset: Dataset) -> str:
    """Return how a data set holds its inputs: ``uint8`` or ``float32``."""
    inputs = dataset.inputs  # images that are decoded when needed are pixels
    return "uint8" if not isinstance(inputs, Tensor) or inputs.dtype == torch.uint8 else "float32"


@torch.inference_mode()
def accuracy(classifier: Classifier, part: Split) -> float:
    """Return the share of a part of the data that a classifier gets right, computed where its weights are."""
    device, hits = classifier.mean.device, 0
    for start in range(0, len(part), _BATCH):
        chosen = slice(start, start + _BATCH)
        predicted = classifier(part.load(chosen).to(device)).argmax(1)
        hits += int((predicted == part.labels[chosen].to(device)).sum())
    return hits / len(part)


def description(classifier: Classifier) -> dict[str, str | list[str] | list[int]]:
    """Return what a classifier is besides its weights, as JSON holds it."""
    return {
        "architecture": json.dumps(classifier.network.architecture.to_dict()),
        "classes": list(classifier.classes),
        "input_shape": list(classifier.input_shape),
        "input_dtype": str(classifier.input_dtype).removeprefix("torch."),
    }


def from_description(described: Mapping[str, Any], state: Mapping[str, Tensor]) -> Classifier:
    """Return the classifier that `description` and its state say, in evaluation mode.

    Raises what its parts raise for what is no description: KeyError, TypeError, ValueError, RuntimeError and
    StopIteration.
    """
    shape = tuple(described["input_shape"])
    architecture = Architecture.from_dict(json.loads(described["architecture"]))
    network = build(architecture, input_channels(shape), len(described["classes"]))
    weights = (value for name, value in state.items() if name.startswith("network.") and value.is_floating_point())
    network.to(next(weights).dtype)
    inputs = _INPUTS[described.get("input_dtype", "float32")]  # older files do not say
    classifier = Classifier(network, state["mean"], state["std"], described["classes"], shape, inputs)
    classifier.load_state_dict(dict(state))
    return classifier.eval()


def to_bytes(classifier: Classifier, trained: Mapping[str, Any] | None = None) -> bytes:
    """Return a file of weights: safetensors, with the description, and how it was trained, as metadata.

    Args:
        classifier: on the CPU.
        trained: facts of its training, as JSON holds them.
    """
    state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    metadata = {_KEY: json.dumps(description(classifier))}
    if trained is not None:
        metadata[_NOTES] = json.dumps(trained)
    return safetensors.torch.save(state, metadata)


def from_file(file: str | Path) -> tuple[Classifier, dict[str, Any]]:
    """Read a file of weights; returns the classifier and the facts of its training that the file states.

    Raises SafetensorError, OSError, or as `from_description`, for what is no such file.
    """
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata() or {}
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    trained = json.loads(metadata.get(_NOTES, "{}"))
    if not isinstance(trained, dict):
        raise TypeError(f"{_NOTES}: expected a mapping")
    return from_description(json.loads(metadata[_KEY]), state), trained


__all__ = [
    "DTYPES",
    "Classifier",
    "accuracy",
    "classifier_of",
    "description",
    "from_description",
    "from_file",
    "input_dtype_of",
    "to_bytes",
]
