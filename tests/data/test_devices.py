"""Everything is made on the device of what it is made from, whatever torch's default device is; CUDA by a stand-in."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_decoding import Memory, shaded

from ressearch.data import AUGMENTATIONS, Lazy, Resident, Split, augment, evaluation_batches, training_batches
from ressearch.data.augment import Mixing
from ressearch.data.batches import _ahead, _draw_together

META = torch.device("meta")
IMAGES = torch.randn(6, 2, 9, 7, generator=torch.Generator().manual_seed(0))


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_augmentations_are_drawn_and_applied_where_images_are(name: str) -> None:
    def result() -> list[torch.Tensor]:
        kind = AUGMENTATIONS[name]
        draws = kind.draw(6, (2, 9, 7), seeded())
        if isinstance(kind, Mixing):
            return [*draws, *kind.mix(IMAGES, torch.ones(6, 3, device="cpu"), draws)]
        return [*draws, kind.apply(IMAGES, draws), augment(IMAGES, [name], seeded())]

    expected = result()
    with META:  # the default device: what does not say where it is made is made nowhere
        found = result()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_batches_are_made_where_generators_are() -> None:
    data = Resident(Split(IMAGES, torch.arange(6) % 3), torch.zeros(2, 1, 1), torch.ones(2, 1, 1))

    def result() -> list[torch.Tensor]:
        found = training_batches(data, 4, [seeded(), seeded(4)], ["crop", "mixup"], 3)
        made = [one for batch in found for one in batch if one is not None]
        return made + [one for pair in evaluation_batches(data, 4) for one in pair]

    expected = result()
    with META:
        found = result()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_draws_of_replicates_are_joined_and_only_partners_counted_on() -> None:
    each = [(torch.tensor([1, 0]), torch.tensor([5, 6])), (torch.tensor([0, 1]), torch.tensor([7, 8]))]
    for kind, first in (("mixup", [1, 0, 2, 3]), ("crop", [1, 0, 0, 1])):
        joined = _draw_together(each, AUGMENTATIONS[kind], 2)
        assert isinstance(joined, tuple)
        assert [one.tolist() for one in joined] == [first, [5, 6, 7, 8]]
    assert _draw_together(each[:1], AUGMENTATIONS["mixup"], 2) is each[0]
    with pytest.raises(ValueError, match="zip"):
        _draw_together([each[0], each[1][:1]], AUGMENTATIONS["crop"], 2)


def test_streamed_images_reach_a_gpu_from_pinned_memory_without_waiting() -> None:
    images = Lazy(Memory(shaded(4)), 1, None, (3, 4))
    data = Resident(Split(images, torch.arange(4)), torch.tensor([[[1.0]]]), torch.tensor([[[2.0]]]))
    assert data.is_streamed
    assert data._normalised is None
    assert data.inputs(torch.tensor([3, 1]))[:, 0, 0, 0].tolist() == [1.0, 0.0]
    calls: list[Any] = []

    class Loaded:
        def pin_memory(self) -> Any:
            calls.append("pinned")
            return self

        def to(self, device: Any, **options: Any) -> torch.Tensor:
            calls.append((device, options))
            return torch.full((1, 1, 1, 1), 5.0)

    cuda = SimpleNamespace(type="cuda")
    data.labels = SimpleNamespace(device=cuda)  # type: ignore[assignment]
    data.split = SimpleNamespace(load=lambda chosen: Loaded())  # type: ignore[assignment]
    assert data.inputs(torch.tensor([0])).item() == 2.0
    assert calls == ["pinned", (cuda, {"non_blocking": True})]
    data.is_streamed = False  # what is resident is there already
    data.split = SimpleNamespace(load=lambda chosen: torch.full((1, 1, 1, 1), 9.0))  # type: ignore[assignment]
    assert data.inputs(torch.tensor([0])).item() == 4.0


@pytest.mark.parametrize("ending", ["all", "error", "left"])
def test_batches_made_ahead_come_in_order_and_end_as_they_do(ending: str) -> None:
    made: list[int] = []

    def batches() -> Any:
        for at in range(20):
            made.append(at)
            if ending == "error" and at == 7:
                raise KeyError("spoilt")
            yield at

    seen: list[Any] = []
    before = set(threading.enumerate())
    ahead = _ahead(batches())
    if ending == "error":
        with pytest.raises(KeyError, match="spoilt"):
            seen.extend(ahead)
        assert seen == list(range(7))
        return
    for one in ahead:
        assert all(thread.daemon for thread in set(threading.enumerate()) - before)  # none that an exit waits for
        seen.append(one)
        if ending == "left" and one == 4:
            break
    ahead.close()  # type: ignore[attr-defined]
    assert seen == list(range(20 if ending == "all" else 5))
    assert len(made) <= len(seen) + 3 + 2  # three that are ready, one that is put, one that is made
