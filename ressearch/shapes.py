"""Shapes of inputs, without the batch: the kinds there are, and their axes."""

from __future__ import annotations

Shape = tuple[int, ...]

MODALITIES: dict[str, tuple[str, ...]] = {
    "image": ("channels", "height", "width"),
    "vector": ("features",),
    "sequence": ("tokens", "features"),
}
"""The kinds of input, with the axes of one input's shape."""
