"""A network as a person names it: a preset, an architecture's name, or a JSON file of its fields."""

from __future__ import annotations

import os

from ressearch.errors import ArchitectureError
from ressearch.networks.architecture import Architecture
from ressearch.texts import UnreadableError, read_text


def is_name(network: str) -> bool:
    """Return whether a text names a network, and no file."""
    return not network.endswith(".json") and os.path.sep not in network


def read_network(network: str) -> Architecture:
    """Return the architecture of a preset, a name, or a JSON file. Raises ArchitectureError."""
    if is_name(network):
        return Architecture.from_name(network)
    try:
        text = read_text(network, most=100_000)
    except FileNotFoundError:
        raise ArchitectureError(f"{network}: no such file or directory") from None
    except UnreadableError as error:
        raise ArchitectureError(f"{network}: {error}") from None
    try:
        return Architecture.from_json(text)
    except ArchitectureError as error:
        raise ArchitectureError(f"{network}: {error}") from None


__all__ = ["is_name", "read_network"]
