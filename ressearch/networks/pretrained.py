"""Weights to start training from: read from a file, and fitted to a network that may have other classes or channels.

A file is one of ours (`ressearch.export.save`), or a state dict with our keys, timm's or torchvision's
(`ressearch.networks.published`). The classifier keeps its fresh weights where the number of classes differs, and the
first convolution is adapted to other input channels, both as timm does. Everything else must fit.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ressearch.errors import ArchitectureError, first_line, nearest
from ressearch.networks.architecture import Architecture
from ressearch.networks.module import ResidualNetwork
from ressearch.networks.published import layout_of

SUFFIXES = (".safetensors", ".pt", ".pth")
"""Files that `read_weights` reads."""

_WRAPPERS = ("state", "state_dict", "model")
"""Keys under which files keep a state dict beside other things; ours first."""

_PREFIXES = ("network.", "module.")
"""What stands before every key of our exports, and of networks that were trained in parallel."""


class Weights(NamedTuple):
    """What a file of weights holds.

    Attributes:
        file: its path, for messages and the record.
        sha256: of its bytes.
        state: its tensors by key.
        architecture: the network that it says they are of; None where it does not say.
    """

    file: str
    sha256: str
    state: dict[str, Tensor]
    architecture: Architecture | None = None


def read_weights(path: str | Path) -> Weights:
    """Read a file of weights: ``.safetensors``, or ``.pt`` or ``.pth`` of tensors alone; no code in it runs.

    Raises ArchitectureError if there is no such file, or it holds no tensors.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:
        raise ArchitectureError(f"{path}: no file of weights; expected one of {', '.join(SUFFIXES)}")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ArchitectureError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        held = _safetensors(content) if file.suffix == ".safetensors" else _pickled(content)
        described = held.get("architecture")
        architecture = Architecture.from_json(described) if isinstance(described, str) else None
        state = next((held[key] for key in _WRAPPERS if isinstance(held.get(key), Mapping)), held)
        tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    except (SafetensorError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise ArchitectureError(f"{path}: holds no weights that can be read: {first_line(error)}") from None
    if not tensors:
        raise ArchitectureError(f"{path}: holds no tensors")
    for prefix in _PREFIXES:
        if any(key.startswith(prefix) for key in tensors):  # the others, such as our exports' mean, are no weights
            tensors = {key.removeprefix(prefix): one for key, one in tensors.items() if key.startswith(prefix)}
    return Weights(str(path), hashlib.sha256(content).hexdigest(), tensors, architecture)


def _safetensors(content: bytes) -> dict[str, Any]:
    state = safetensors.torch.load(content)  # first: what it takes has a header
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    described = json.loads(header.get("__metadata__", {}).get("ressearch", "{}"))
    return {**described, "state": state}


def _pickled(content: bytes) -> Mapping[str, Any]:
    held = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(held, Mapping):
        raise TypeError(f"expected a mapping, got {type(held).__name__}")
    return held


def load_weights(network: ResidualNetwork, weights: Weights) -> list[str]:
    """Set a network's weights to those of a file, and leave those that cannot fit as they are.

    Returns:
        What was not taken as it is, in words: a classifier of other classes, a convolution of other input channels.

    Raises:
        ArchitectureError: the weights are not this network's; the text names the file, the key and what was expected.
    """
    own = network.state_dict()
    try:
        taken, notes = _fitted(network, own, weights)
    except ArchitectureError as error:
        raise ArchitectureError(f"{weights.file}: {error}") from None
    with torch.no_grad():
        network.load_state_dict({**own, **taken})
    return notes


def _fitted(
    network: ResidualNetwork, own: Mapping[str, Tensor], weights: Weights
) -> tuple[dict[str, Tensor], list[str]]:
    ours, theirs = _translated(network, own, weights)
    classifier = network.get_classifier()
    last = next((name for name, module in network.named_modules() if module is classifier), None)
    first = next((f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)
    taken: dict[str, Tensor] = {}
    notes: list[str] = []
    for key, like in own.items():
        if key not in ours:
            if key.endswith("num_batches_tracked"):
                continue
            raise ArchitectureError(f"'{theirs.get(key, key)}' is missing ({len(weights.state)} keys)")
        value = ours[key]
        if value.shape == like.shape:
            taken[key] = value
        elif value.numel() == like.numel() and value.squeeze().shape == like.squeeze().shape:
            taken[key] = value.view(like.shape)  # a 1x1 convolution kept as a matrix, or the other way round
        elif last is not None and key.rpartition(".")[0] == last and value.shape[1:] == like.shape[1:]:
            if key.endswith("weight"):
                notes.append(f"new classifier of {like.shape[0]} classes (the file's has {value.shape[0]})")
        elif key == first and value.shape[0] == like.shape[0] and value.shape[2:] == like.shape[2:]:
            taken[key] = _adapted(value, like.shape[1], theirs.get(key, key))
            notes.append(f"first convolution adapted to {like.shape[1]} input channels")
        else:
            raise ArchitectureError(
                f"'{theirs.get(key, key)}' has shape {tuple(value.shape)}, expected {tuple(like.shape)}"
            )
    return taken, notes


def _translated(
    network: ResidualNetwork, own: Mapping[str, Tensor], weights: Weights
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a file's tensors under our keys, and what the file calls each of our keys."""
    state = weights.state
    of = weights.architecture
    if of is not None and of.replace(zero_gamma=False) != network.architecture.replace(zero_gamma=False):
        raise ArchitectureError(f"holds the weights of {of.name}, and the network is {network.architecture.name}")
    shared = sum(key in own for key in state)
    if 2 * shared > len(own):
        names = {key: key for key in own}
        left_out = () if network.num_classes else ("head.",)
    else:
        layout, entries = layout_of(network, state)
        names = {ours: entry.key for ours, entry in entries.items()}
        left_out = () if network.num_classes else (f"{layout.classifier}.",)
    known = set(names.values())
    for key in state:
        if key not in known and not key.startswith(left_out):
            raise ArchitectureError(f"'{key}' is no key of the network; {nearest(key, known)}")
    return {ours: state[name] for ours, name in names.items() if name in state}, names


def _adapted(weight: Tensor, channels: int, key: str) -> Tensor:
    """Return a first convolution's weight for other input channels, as timm's `adapt_input_conv` makes it.

    One channel gets the sum over RGB, others RGB over and over, scaled so that the sums stay as large.
    """
    if weight.shape[1] != 3:
        raise ArchitectureError(
            f"'{key}' takes {weight.shape[1]} input channels, the data have {channels}: only weights for 3 are adapted"
        )
    if channels == 1:
        return weight.float().sum(1, keepdim=True).to(weight.dtype)
    repeated = weight.repeat(1, -(-channels // 3), 1, 1)[:, :channels]
    return repeated * (3 / channels)
