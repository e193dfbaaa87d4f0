"""Augmentations: each drawn value's effect on a small image, worked out by hand, and where draws come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ressearch import registry
from ressearch.data import AUGMENTATIONS, Resident, Split, augment, augmentation, training_batches
from ressearch.data.augment import (
    Augmentation,
    Crop,
    Cutmix,
    Cutout,
    Flip,
    Mixup,
    RandomErasing,
    _integers,
    _uniform,
    get_augmentations,
)
from ressearch.data.batches import Batch, evaluation_batches
from ressearch.errors import RegistryError

IMAGE = torch.arange(1.0, 31).view(1, 1, 5, 6)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def erased(image: Tensor, kept: Tensor) -> np.ndarray:
    """Which pixels became 0 in the first channel."""
    assert bool(((kept == image) | (kept == 0)).all())
    return (kept[0, 0] == 0).numpy()


def box(rows: range, columns: range, shape: tuple[int, int] = (5, 6)) -> np.ndarray:
    found = np.zeros(shape, bool)
    found[rows.start : rows.stop, columns.start : columns.stop] = True
    return found


def test_draws_are_the_generators_numbers() -> None:
    expected = torch.rand(1000, generator=seeded())
    assert torch.equal(_uniform(1000, seeded()), expected)
    assert torch.allclose(_uniform(1000, seeded(), 0.3, 3.3), 0.3 + 3 * expected)
    whole = _integers(1000, seeded(), 7)
    assert torch.equal(whole, torch.randint(0, 7, (1000,), generator=seeded()))
    assert whole.unique().tolist() == list(range(7))


def test_flip_mirrors_those_that_are_drawn() -> None:
    two = IMAGE.expand(2, 2, 5, 6)
    found = Flip().apply(two, (torch.tensor([True, False]),))
    assert np.array_equal(found[0].numpy(), np.flip(two[0].numpy(), 2))
    assert torch.equal(found[1], two[1])
    (drawn,) = Flip().draw(500, (1, 5, 6), seeded())
    assert torch.equal(drawn, torch.rand(500, generator=seeded()) < 0.5)


@pytest.mark.parametrize(("side", "pad"), [(2, 1), (8, 1), (15, 1), (16, 2), (32, 4)])
def test_crop_pads_an_eighth_of_the_height_and_cuts_where_it_is_drawn(side: int, pad: int) -> None:
    images = torch.arange(1.0, 1 + 2 * 2 * side * 3).view(2, 2, side, 3)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    for row, column in ((0, 2 * pad), (pad, pad), (2 * pad, 0)):
        found = Crop().apply(images, (torch.tensor([row, pad]), torch.tensor([column, pad])))
        assert np.array_equal(found[0].numpy(), padded[0, :, row : row + side, column : column + 3])
        assert torch.equal(found[1], images[1])
    rows, columns = Crop().draw(2000, (2, side, 3), seeded())
    assert rows.unique().tolist() == columns.unique().tolist() == list(range(2 * pad + 1))
    assert not torch.equal(rows, columns)


@pytest.mark.parametrize(
    ("centre", "rows", "columns"),
    [
        ((2, 3), range(1, 3), range(2, 4)),  # half of 5 is 2: a square of 2, from one above and left of the centre
        ((0, 0), range(1), range(1)),
        ((4, 5), range(3, 5), range(4, 6)),
    ],
)
def test_cutout_blanks_a_square_of_half_the_height(centre: tuple[int, int], rows: range, columns: range) -> None:
    draws = tuple(torch.tensor([one]) for one in centre)
    assert np.array_equal(erased(IMAGE, Cutout().apply(IMAGE, draws)), box(rows, columns))
    tiny = torch.ones(1, 2, 1, 1)
    assert Cutout().apply(tiny, (torch.tensor([0]), torch.tensor([0]))).sum() == 0  # at least one pixel
    three = torch.ones(1, 1, 3, 3)
    assert Cutout().apply(three, (torch.tensor([1]), torch.tensor([1]))).tolist() == [
        [[[1, 1, 1], [1, 0, 1], [1, 1, 1]]]
    ]
    down, right = Cutout().draw(2000, (1, 5, 6), seeded())
    assert (down.unique().tolist(), right.unique().tolist()) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("draws", "rows", "columns"),
    [
        ((0.2, 1.5, 0.0, 0.0), range(3), range(2)),  # 6 pixels: 3 high, 2 wide
        ((0.2, 1.5, 1.0, 1.0), range(2, 5), range(4, 6)),
        ((0.2, 1.5, 0.5, 0.5), range(1, 4), range(2, 4)),
        ((0.2, 2 / 3, 0.0, 1.0), range(2), range(3, 6)),
        ((0.01, 1.0, 0.0, 0.0), range(1), range(1)),  # at least a pixel
        ((0.4, 3.3, 0.0, 0.0), range(5), range(2)),  # 6.3 high is cut to 5; 1.9 wide
        ((0.4, 0.3, 0.0, 0.0), range(2), range(6)),  # 1.9 high; 6.3 wide is cut to 6
    ],
)
def test_random_erasing_blanks_a_rectangle_of_the_drawn_area_and_ratio(
    draws: tuple[float, ...], rows: range, columns: range
) -> None:
    some = tuple(torch.tensor([one]) for one in draws)
    found = RandomErasing().apply(IMAGE, (torch.tensor([True]), *some))
    assert np.array_equal(erased(IMAGE, found), box(rows, columns))
    assert torch.equal(RandomErasing().apply(IMAGE, (torch.tensor([False]), *some)), IMAGE)


def test_random_erasing_draws_two_to_forty_percent_of_the_area() -> None:
    chosen, area, ratio, down, right = RandomErasing().draw(4000, (1, 5, 6), seeded())
    generator = seeded()
    first, second, third, fourth, fifth = (torch.rand(4000, generator=generator) for _ in range(5))
    assert torch.allclose(area, 0.02 + 0.38 * first)
    assert torch.allclose(ratio, 0.3 + 3 * second)
    assert torch.equal(chosen, third < 0.5)
    assert torch.equal(down, fourth)
    assert torch.equal(right, fifth)


def test_mixup_blends_images_and_targets_by_the_same_weight() -> None:
    images = torch.tensor([[0.0, 8.0], [4.0, 0.0], [1.0, 1.0]])
    targets = torch.eye(3)
    draws = (torch.tensor([1, 0, 2]), torch.tensor([0.25, 1.0, 0.5]))
    inputs, mixed = Mixup().mix(images, targets, draws)
    assert inputs.tolist() == [[1.0, 6.0], [0.0, 8.0], [1.0, 1.0]]
    assert mixed.tolist() == [[0.75, 0.25, 0], [1, 0, 0], [0, 0, 1]]
    exact, _ = Mixup().mix(images.double(), targets, draws)
    assert exact.dtype == torch.float64
    deep, _ = Mixup().mix(images.view(3, 2, 1, 1), targets, draws)
    assert torch.equal(deep.flatten(1), inputs)
    partner, weight = Mixup().draw(50, (2,), seeded())
    generator = seeded()
    assert torch.equal(partner, torch.randperm(50, generator=generator))
    assert torch.equal(weight, torch.rand(50, generator=generator))


@pytest.mark.parametrize(
    ("area", "centre", "rows", "columns"),
    [
        (0.16, (2, 3), range(1, 3), range(2, 4)),  # 0.4 of 5 and of 6: 2 high, 2.4 wide
        (0.36, (2, 3), range(1, 4), range(1, 5)),  # 3 high, 3.6 wide
        (0.36, (0, 5), range(2), range(3, 6)),  # cut at the borders
        (0.0, (2, 3), range(0), range(0)),
    ],
)
def test_cutmix_pastes_a_rectangle_and_mixes_targets_by_what_is_seen_of_it(
    area: float, centre: tuple[int, int], rows: range, columns: range
) -> None:
    images = torch.cat([IMAGE, -IMAGE])
    draws = (torch.tensor([1, 1]), torch.tensor([area, 0.5]), *(torch.tensor([one, 0]) for one in centre))
    inputs, targets = Cutmix().mix(images, torch.eye(2), draws)
    assert np.array_equal((inputs[0, 0] < 0).numpy(), box(rows, columns))
    assert torch.equal(inputs[0].abs(), IMAGE[0])
    share = len(rows) * len(columns) / 30
    assert targets[0].tolist() == pytest.approx([1 - share, share])
    assert targets[1].tolist() == [0, 1]
    partner, areas, down, right = Cutmix().draw(2000, (1, 5, 6), seeded())
    assert sorted(partner.tolist()) == list(range(2000))
    assert torch.equal(partner, torch.randperm(2000, generator=seeded()))
    assert (down.unique().tolist(), right.unique().tolist()) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5])
    assert 0 <= areas.min() < 0.01 < 0.99 < areas.max() < 1


class Pixel(Augmentation):
    """Adds what it draws, which depends on the shape."""

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.full((count,), float(sum(shape))) + torch.rand(count, generator=generator),)

    def apply(self, inputs: Tensor, draws: tuple[Tensor, ...]) -> Tensor:
        return inputs + draws[0].view(-1, 1, 1, 1)


def test_augmentations_of_ones_own_are_named_once_and_applied_in_turn() -> None:
    with registry.unchanged():
        augmentation("pixel")(Pixel)
        with pytest.raises(RegistryError, match="pixel"):
            augmentation("pixel")(Flip)
        augmentation("pixel", replace=True)(Flip)
        assert isinstance(AUGMENTATIONS["pixel"], Flip)
        augmentation("pixel", replace=True)(Pixel)
        (kind,) = get_augmentations(["pixel"])
        assert isinstance(kind, Pixel)
        images = torch.zeros(4, 2, 5, 6)
        generator = seeded()
        expected = 26 + sum(torch.rand(4, generator=generator) for _ in range(2))
        assert torch.allclose(augment(images, ["pixel", "pixel"], seeded())[:, 1, 2, 3], expected)
    assert "pixel" not in AUGMENTATIONS
    assert torch.equal(augment(images, ["mixup", "cutmix"], seeded()), images)  # without labels nothing is mixed


def images_of(count: int, dtype: torch.dtype = torch.float32) -> Resident:
    pool = torch.randn(count, 2, 5, 6, generator=seeded(8))
    return Resident(Split(pool, torch.arange(count) % 3), torch.full((2, 1, 1), 0.5), torch.full((2, 1, 1), 2.0), dtype)


def batches(data: Resident, seeds: tuple[int, ...], names: list[str], size: int = 4) -> list[Batch]:
    return list(training_batches(data, size, [seeded(seed) for seed in seeds], names, 3))


@pytest.mark.parametrize("names", [[], ["crop", "flip"], ["mixup"], ["flip", "cutmix"], ["mixup", "cutmix"]])
def test_replicates_see_together_what_each_sees_alone(names: list[str]) -> None:
    data = images_of(11)
    together = batches(data, (3, 4, 5), names)
    assert len(together) == 2  # 3 of 11 are left out
    for index, seed in enumerate((3, 4, 5)):
        for both, alone in zip(together, batches(data, (seed,), names), strict=True):
            assert torch.equal(both.inputs[index], alone.inputs[0])
            assert torch.equal(both.labels[index], alone.labels[0])
            assert (both.targets is None) == (alone.targets is None) == ("mix" not in "".join(names))
            if both.targets is not None and alone.targets is not None:
                assert both.targets.shape == (3, 4, 3)
                assert torch.equal(both.targets[index], alone.targets[0])


def test_the_first_draw_is_the_order_of_the_epoch_and_a_batch_is_at_most_the_data() -> None:
    data = images_of(7, torch.float64)
    pool = (data.split.load(slice(None)).double() - 0.5) / 2
    generator = seeded(6)
    order = torch.randperm(7, generator=generator)
    (only,) = batches(data, (6,), [], size=100)
    assert torch.equal(only.inputs[0], pool[order])
    assert only.inputs.dtype == torch.float64
    assert torch.equal(only.labels[0], order % 3)
    (mixed,) = batches(data, (6,), ["mixup"], size=100)
    assert mixed.targets is not None
    assert mixed.targets.dtype == torch.float64
    partner, weight = torch.randperm(7, generator=generator), torch.rand(7, generator=generator).double()
    hot = torch.eye(3, dtype=torch.float64)[order % 3]
    assert torch.allclose(mixed.targets[0], hot.lerp(hot[partner], weight.view(-1, 1)))


def test_data_are_normalised_once_where_they_are_few_and_by_batch_where_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ressearch.data import batches as room

    size = 9 * 2 * 5 * 6 * 4
    whole = images_of(9)
    expected = (whole.split.load(slice(None)) - 0.5) / 2
    for bound, is_kept in ((size, True), (size - 1, False)):
        monkeypatch.setattr(room, "_KEPT_NORMALISED", bound)
        data = images_of(9)
        assert (data._normalised is not None) == is_kept
        assert len(data) == 9
        assert data.input_shape == (2, 5, 6)
        assert torch.equal(data.inputs(torch.tensor([4, 0])), expected[[4, 0]])
        assert torch.equal(data.inputs(slice(2, 5)), expected[2:5])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_batches_have_the_type_that_is_asked_for(dtype: torch.dtype) -> None:
    data = images_of(3, dtype)
    assert data.inputs(slice(None)).dtype == dtype
    assert torch.equal(data.inputs(slice(None)), (data.split.load(slice(None)).to(dtype) - 0.5) / 2)


def test_evaluation_reads_512_at_a_time_in_order() -> None:
    data = Resident(Split(torch.arange(1100.0).view(-1, 1), torch.arange(1100)), torch.zeros(1), torch.ones(1))
    seen = list(evaluation_batches(data))
    assert [len(labels) for _, labels in seen] == [512, 512, 76]
    assert torch.cat([labels for _, labels in seen]).tolist() == list(range(1100))
    assert all(torch.equal(inputs.flatten(), labels.float()) for inputs, labels in seen)
