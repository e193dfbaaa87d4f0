from __future__ import annotations

import pytest
import torch

from ressearch.data import Dataset, Split, augment, batches, load_dataset, split
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
    seen = torch.cat([inputs for inputs, _ in batches(parts.train, 100, parts.mean, parts.std)])
    assert seen.mean().abs() < 1e-4
    assert (seen.std() - 1).abs() < 1e-3


def test_shuffled_batches_keep_labels_with_images_and_drop_the_rest() -> None:
    data = Split(torch.arange(100.0).view(100, 1, 1, 1), torch.arange(100))
    zero, one = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    seen = list(batches(data, 32, zero, one, generator=torch.Generator().manual_seed(0)))
    assert [len(labels) for _, labels in seen] == [32, 32, 32]
    labels = torch.cat([labels for _, labels in seen])
    assert torch.equal(torch.cat([inputs for inputs, _ in seen]).flatten().long(), labels)
    assert len(labels.unique()) == 96
    assert [len(labels) for _, labels in batches(data, 32, zero, one)] == [32, 32, 32, 4]


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
