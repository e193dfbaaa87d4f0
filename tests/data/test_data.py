from __future__ import annotations

import pytest
import torch

from ressearch.data import (
    AUGMENTATIONS,
    Dataset,
    Resident,
    Split,
    augment,
    evaluation_batches,
    load_dataset,
    split,
    training_batches,
)
from ressearch.errors import DataError


def test_digits_are_scikit_learns_images_pixel_for_pixel() -> None:
    from sklearn.datasets import load_digits

    digits = load_dataset("digits")
    assert digits.inputs.shape == (1797, 1, 8, 8)
    assert digits.inputs.dtype == torch.uint8
    assert torch.equal(digits.inputs[:, 0].double(), torch.from_numpy(load_digits().images))
    assert torch.equal(digits.labels, torch.from_numpy(load_digits().target).long())


def test_splits_are_disjoint_whole_stratified_and_fixed_by_the_seed() -> None:
    numbers = torch.arange(300.0).view(300, 1, 1, 1)
    data = Dataset("n", numbers, torch.arange(300) % 3, ("a", "b", "c"), "")
    one = split(data, seed=4, validation=0.2, test=0.1)
    parts = [set(part.inputs.flatten().tolist()) for part in (one.train, one.validation, one.test)]
    assert [len(part) for part in parts] == [210, 60, 30]
    assert set.union(*parts) == set(range(300))
    for part in (one.train, one.validation, one.test):
        assert torch.equal(part.labels, part.inputs.flatten().long() % 3)
        assert part.labels.bincount().unique().numel() == 1
    assert one.fingerprint == split(data, 4, 0.2, 0.1).fingerprint != split(data, 5, 0.2, 0.1).fingerprint


def test_normalisation_uses_training_data_only() -> None:
    data = load_dataset("digits")
    parts = split(data, 0, 0.2, 0.2)
    assert parts.mean.item() == pytest.approx(parts.train.inputs.float().mean().item())
    seen = torch.cat([inputs for inputs, _ in evaluation_batches(Resident(parts.train, parts.mean, parts.std), 100)])
    assert seen.mean().abs() < 1e-4
    assert (seen.std() - 1).abs() < 1e-3


def numbers(count: int) -> Resident:
    """Images of one pixel whose value is their label."""
    data = Split(torch.arange(float(count)).view(count, 1, 1, 1), torch.arange(count))
    return Resident(data, torch.zeros(1, 1, 1), torch.ones(1, 1, 1))


def test_shuffled_batches_keep_labels_with_images_and_drop_the_rest() -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    seen = list(training_batches(numbers(100), 32, generators))
    assert [batch.labels.shape for batch in seen] == [(2, 32)] * 3
    labels = torch.cat([batch.labels for batch in seen], dim=1)
    assert torch.equal(torch.cat([batch.inputs for batch in seen], dim=1).view(2, -1).long(), labels)
    assert [len(order.unique()) for order in labels] == [96, 96]
    assert not torch.equal(labels[0], labels[1])
    alone = torch.cat(
        [batch.labels for batch in training_batches(numbers(100), 32, [torch.Generator().manual_seed(1)])], 1
    )
    assert torch.equal(alone[0], labels[1])
    assert [len(labels) for _, labels in evaluation_batches(numbers(100), 32)] == [32, 32, 32, 4]


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_labels_are_mixed_as_the_images_are(name: str) -> None:
    classes = 4
    labels = torch.arange(64) % classes
    images = torch.nn.functional.one_hot(labels, classes).float().view(64, classes, 1, 1).expand(64, classes, 8, 8)
    data = Resident(Split(images, labels), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    for batch in training_batches(data, 16, generators, [name], classes):
        assert batch.targets is not None
        torch.testing.assert_close(batch.inputs.mean((3, 4)), batch.targets)  # each channel is one class' share
        torch.testing.assert_close(batch.targets.sum(2), torch.ones(2, 16))
        assert (batch.targets.max(2).values < 0.95).any()


@pytest.mark.parametrize(("name", "most"), [("cutout", 16 / 64), ("random_erasing", 0.45)])
def test_erased_rectangles_are_of_the_published_size(name: str, most: float) -> None:
    images = torch.ones(400, 3, 8, 8)
    erased = augment(images, [name], torch.Generator().manual_seed(0)) == 0
    share = erased.float().mean((1, 2, 3))
    assert torch.equal(erased[:, 0], erased[:, 2])
    assert 0 < share.max() <= most
    assert (0.3 < (share > 0).float().mean() < 0.7) if name == "random_erasing" else bool((share > 0).all())


def test_every_augmentation_keeps_shape_and_follows_its_generator() -> None:
    images = torch.randn(32, 3, 8, 8)
    for name in AUGMENTATIONS:
        one, same, other = (augment(images, [name], torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert one.shape == images.shape
        assert torch.equal(one, same)
        assert torch.equal(one, other) == (name in ("mixup", "cutmix"))


def test_vectors_and_sequences_are_normalised_by_feature() -> None:
    for name, shape in (("breast_cancer", (30,)), ("digits_rows", (8, 8))):
        data = load_dataset(name)
        assert data.input_shape == shape
        parts = split(data, 0, 0.2, 0.2)
        normalised = Resident(parts.train, parts.mean, parts.std).inputs(slice(None))
        deviation = normalised.flatten(0, -2).std(0)
        assert normalised.flatten(0, -2).mean(0).abs().max() < 1e-4
        assert (((deviation - 1).abs() < 1e-3) | (deviation < 1e-6)).all()


def test_crop_moves_and_flip_mirrors_images_whole() -> None:
    images = torch.arange(1.0, 65).view(1, 1, 8, 8).expand(200, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    flipped = augment(images, ["flip"], generator)
    is_mirror = (flipped == images.flip(3)).flatten(1).all(1)
    assert 60 < is_mirror.sum() < 140
    assert torch.equal(flipped[~is_mirror], images[~is_mirror])
    cropped = augment(images, ["crop"], generator)
    padded = torch.nn.functional.pad(images[0], (1, 1, 1, 1))
    windows = {tuple(padded[0, t : t + 8, s : s + 8].flatten().tolist()) for t in range(3) for s in range(3)}
    assert {tuple(image.flatten().tolist()) for image in cropped} == windows


def test_unknown_names_are_refused() -> None:
    with pytest.raises(DataError, match="did you mean 'digits'"):
        load_dataset("digit")
    with pytest.raises(DataError, match="did you mean 'crop'"):
        augment(torch.zeros(1, 1, 2, 2), ["crops"], torch.Generator())
    with pytest.raises(DataError, match="the validation part is empty"):
        split(Dataset("n", torch.zeros(3, 1, 1, 1), torch.arange(3), ("a", "b", "c"), ""), 0, 0.4, 0.1)
