"""Augmentation on the device, whole batches at once: each kind draws its random numbers, then applies them.

Drawing and applying are apart so that the replicates of a group, each with a random stream of its own, are augmented in
one pass. To add a kind, write one class here under ``@augmentation``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ressearch.errors import DataError
from ressearch.registry import Registry
from ressearch.shapes import Shape

Draws = tuple[Tensor, ...]


class Augmentation(ABC):
    """One kind of augmentation of images, shape (batch, channels, height, width), normalised: 0 is the mean."""

    @abstractmethod
    def draw(self, count: int, shape: Shape, generator: torch.Generator) -> Draws:
        """Draw what `count` images of `shape` need; each tensor has `count` first."""

    def apply(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return the images changed as drawn."""
        return inputs


class Mixing(Augmentation):
    """A kind that mixes pairs of examples and their labels; the first draw is each example's partner."""

    @abstractmethod
    def mix(self, inputs: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return images and targets, shape (batch, classes), mixed as drawn."""


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentations", DataError, "augmentation {name} is unknown")
"""Every augmentation by name."""


def augmentation(name: str, *, replace: bool = False) -> Callable[[type[Augmentation]], type[Augmentation]]:
    """Register a class as augmentation `name`."""
    return AUGMENTATIONS.register(name, make=lambda kind: kind(), replace=replace)


def get_augmentations(names: Sequence[str]) -> list[Augmentation]:
    """Return the named augmentations. Raises DataError with the nearest name for an unknown one."""
    return [AUGMENTATIONS.find(name) for name in names]


def augment(inputs: Tensor, names: Sequence[str], generator: torch.Generator) -> Tensor:
    """Apply the named augmentations in turn (those that mix labels excepted). Raises DataError for an unknown name."""
    for kind in get_augmentations(names):
        inputs = kind.apply(inputs, kind.draw(len(inputs), tuple(inputs.shape[1:]), generator))
    return inputs


def _uniform(count: int, generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)


def _integers(count: int, generator: torch.Generator, high: int) -> Tensor:
    return torch.randint(high, (count,), generator=generator, device=generator.device)


@augmentation("flip")
class Flip(Augmentation):
    """Mirror each image left to right with probability 1/2."""

    def draw(self, count: int, shape: Shape, generator: torch.Generator) -> Draws:
        """Whether each is mirrored."""
        return (_uniform(count, generator) < 0.5,)

    def apply(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Mirror."""
        return torch.where(draws[0].view(-1, 1, 1, 1), inputs.flip(3), inputs)


@augmentation("crop")
class Crop(Augmentation):
    """Pad by an eighth of the side (4 pixels of 32, He et al. 2015; 1 of 8) and cut the old size at a random place."""

    def draw(self, count: int, shape: Shape, generator: torch.Generator) -> Draws:
        """Where each is cut."""
        places = 2 * self._pad(shape[1]) + 1
        return _integers(count, generator, places), _integers(count, generator, places)

    @staticmethod
    def _pad(height: int) -> int:
        return max(1, height // 8)

    def apply(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Pad and cut."""
        count, channels, height, width = inputs.shape
        padded = functional.pad(inputs, (self._pad(height),) * 4)
        device = inputs.device
        rows = draws[0].view(-1, 1, 1, 1) + torch.arange(height, device=device).view(-1, 1)
        columns = draws[1].view(-1, 1, 1, 1) + torch.arange(width, device=device)
        images = torch.arange(count, device=device).view(-1, 1, 1, 1)
        return padded[images, torch.arange(channels, device=device).view(1, -1, 1, 1), rows, columns]


def _boxes(top: Tensor, left: Tensor, height: Tensor, width: Tensor, like: Tensor) -> Tensor:
    """Return where boxes lie, shape (batch, 1, image height, image width), cut at the borders."""
    rows = torch.arange(like.shape[2], device=like.device).view(1, -1, 1)
    columns = torch.arange(like.shape[3], device=like.device)
    top, left, height, width = (one.view(-1, 1, 1) for one in (top, left, height, width))
    inside = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    return inside.unsqueeze(1)


@augmentation("cutout")
class Cutout(Augmentation):
    """A square of half the side, its centre anywhere, becomes the mean (DeVries and Taylor 2017)."""

    def draw(self, count: int, shape: Shape, generator: torch.Generator) -> Draws:
        """The centres."""
        return _integers(count, generator, shape[1]), _integers(count, generator, shape[2])

    def apply(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Blank the squares."""
        side = torch.full_like(draws[0], max(1, inputs.shape[2] // 2))
        return inputs.masked_fill(_boxes(draws[0] - side // 2, draws[1] - side // 2, side, side, inputs), 0.0)


@augmentation("random_erasing")
class RandomErasing(Augmentation):
    """With probability 1/2 a rectangle of 2 to 40 % of the area becomes the mean (Zhong et al. 2020)."""

    def draw(self, count: int, shape: Shape, generator: torch.Generator) -> Draws:
        """Whether, how large, which ratio, and where."""
        area, ratio = _uniform(count, generator, 0.02, 0.4), _uniform(count, generator, 0.3, 3.3)
        return (
            _uniform(count, generator) < 0.5,
            area,
            ratio,
            _uniform(count, generator),
            _uniform(count, generator),
        )

    def apply(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Blank the rectangles."""
        chosen, area, ratio, down, right = draws
        rows, columns = inputs.shape[2:]
        height = (area * rows * columns * ratio).sqrt().clamp(min=1).round()
        width = (area * rows * columns / ratio).sqrt().clamp(min=1).round()
        boxes = _boxes((down * (rows - height)).round(), (right * (columns - width)).round(), height, width, inputs)
        return inputs.masked_fill(boxes & chosen.view(-1, 1, 1, 1), 0.0)


@augmentation("mixup")
class Mixup(Mixing):
    """Each example becomes a mean of itself and a partner, weighted evenly at random (Zhang et al. 2018, alpha = 1)."""

    def draw(self, count: int, shape: Shape, generator: torch.Generator) -> Draws:
        """Partners and weights."""
        return torch.randperm(count, generator=generator, device=generator.device), _uniform(count, generator)

    def mix(self, inputs: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Blend images and targets."""
        partner, weight = draws
        weight = weight.to(inputs.dtype)
        return (
            inputs.lerp(inputs[partner], weight.view(-1, *(1,) * (inputs.ndim - 1))),
            targets.lerp(targets[partner], weight.view(-1, 1).to(targets.dtype)),
        )


@augmentation("cutmix")
class Cutmix(Mixing):
    """A rectangle of each image, of area evenly at random, comes from a partner (Yun et al. 2019, alpha = 1)."""

    def draw(self, count: int, shape: Shape, generator: torch.Generator) -> Draws:
        """Partners, areas and centres."""
        partner = torch.randperm(count, generator=generator, device=generator.device)
        rows, columns = _integers(count, generator, shape[1]), _integers(count, generator, shape[2])
        return partner, _uniform(count, generator), rows, columns

    def mix(self, inputs: Tensor, targets: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Paste the rectangles; targets are mixed by their area."""
        partner, area, row, column = draws
        height = (area.sqrt() * inputs.shape[2]).round().long()
        width = (area.sqrt() * inputs.shape[3]).round().long()
        boxes = _boxes(row - height // 2, column - width // 2, height, width, inputs)
        share = boxes.to(targets.dtype).mean((1, 2, 3)).view(-1, 1)
        return torch.where(boxes, inputs[partner], inputs), targets.lerp(targets[partner], share)
