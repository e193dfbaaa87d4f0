"""Data sets with a name of their own: what their files become, and every way in which one lacks something."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_published_archives import idx, python2, tarred

from ressearch.data import Options
from ressearch.data.datasets import _cifar, _idx, _published
from ressearch.data.files import PUBLISHED, Published
from ressearch.data.registry import Dataset, Declared
from ressearch.errors import DataError, MissingDataError

DECLARED = Declared("Shapes (Nobody 2026)", (1, 4, 5), ("round", "square", "odd"), (3,), (2,))
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 5), dtype=np.uint8)
LABELS = np.array([2, 0, 1, 1, 2], np.uint8)
FOUR = {
    "train-images-idx3-ubyte.gz": PIXELS[:3],
    "train-labels-idx1-ubyte.gz": LABELS[:3],
    "t10k-images-idx3-ubyte.gz": PIXELS[3:],
    "t10k-labels-idx1-ubyte.gz": LABELS[3:],
}


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(DataError) as refused:
        call(*arguments)
    return str(refused.value)


def write(directory: Path, **changed: np.ndarray) -> Path:
    """Write the four files; `changed` by the first words of their names."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, values in FOUR.items():
        values = changed.get("_".join(name.split("-")[:2]), values)
        (directory / name).write_bytes(gzip.compress(idx(values.shape, values.tobytes())))
    return directory


@pytest.mark.parametrize("where", [".", "mnist"])
def test_four_files_are_one_data_set(where: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / where)
    data = _idx("mnist", DECLARED, Options(root=str(root), verify=False))
    assert isinstance(data.inputs, torch.Tensor)
    assert np.array_equal(data.inputs.numpy(), PIXELS[:, None])
    assert data.inputs.dtype == torch.uint8
    assert (data.labels.tolist(), data.labels.dtype) == (LABELS.tolist(), torch.int64)
    assert (data.name, data.classes, data.test_from) == ("mnist", ("round", "square", "odd"), 3)
    assert data.source == "Shapes (Nobody 2026): 3 training and 2 test images of 5x4 grey pixels"
    assert (data.validation_from, data.place, data.missing) == (None, None, "")


def test_the_first_directory_that_has_the_files_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESSEARCH_DATA", str(tmp_path / "home"))
    monkeypatch.setenv("RESSEARCH_DATA_PATH", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    options = Options(verify=False)
    with pytest.raises(MissingDataError) as missing:
        _idx("mnist", DECLARED, options)
    looked = ", ".join(str(tmp_path / one / "mnist") for one in ("home", "a", "b"))
    how = "`ressearch data fetch mnist` gets it; or name its directory with data.root"
    assert str(missing.value) == f"'mnist': not found in {looked}; {how}"
    write(tmp_path / "b" / "mnist", train_labels=np.array([0, 1, 2], np.uint8))
    assert _idx("mnist", DECLARED, options).labels.tolist() == [0, 1, 2, 1, 2]
    write(tmp_path / "a" / "mnist")
    assert _idx("mnist", DECLARED, options).labels.tolist() == LABELS.tolist()


def test_each_of_the_four_is_needed_whole_and_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path)
    sums = {name: hashlib.md5((root / name).read_bytes()).hexdigest() for name in FOUR}
    monkeypatch.setitem(PUBLISHED, "mnist", Published("", sums))
    assert len(_idx("mnist", DECLARED, Options(root=str(root))).labels) == 5
    for name in FOUR:
        monkeypatch.setitem(PUBLISHED, "mnist", Published("", {**sums, name: "0" * 32}))
        said = f"{root / name}: its MD5 is {sums[name]}, the published file's {'0' * 32}: damaged, or not"
        assert refusal(_idx, "mnist", DECLARED, Options(root=str(root))).startswith(said)
        assert len(_idx("mnist", DECLARED, Options(root=str(root), verify=False)).labels) == 5
    for name in list(FOUR)[1:]:
        (root / name).unlink()
        said = f"{root / name}: missing; `ressearch data fetch mnist` gets it"
        assert refusal(_idx, "mnist", DECLARED, Options(root=str(root), verify=False)) == said
        write(root)


@pytest.mark.parametrize(
    ("changed", "file", "said"),
    [
        (
            {"train_labels": LABELS[:2]},
            "train-labels-idx1-ubyte.gz",
            "labels of shape (2,) do not go with images of shape (3, 4, 5)",
        ),
        (
            {"t10k_labels": LABELS[:3]},
            "t10k-labels-idx1-ubyte.gz",
            "labels of shape (3,) do not go with images of shape (2, 4, 5)",
        ),
        (
            {"train_images": PIXELS[:3].reshape(3, 20)},
            "train-labels-idx1-ubyte.gz",
            "labels of shape (3,) do not go with images of shape (3, 20)",
        ),
        (
            {"t10k_labels": LABELS[3:, None]},
            "t10k-labels-idx1-ubyte.gz",
            "labels of shape (2, 1) do not go with images of shape (2, 4, 5)",
        ),
    ],
)
def test_labels_go_with_their_images(changed: dict[str, np.ndarray], file: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, **changed)
    options = Options(root=str(tmp_path), verify=False)
    assert refusal(_idx, "mnist", DECLARED, options) == f"{tmp_path / file}: {said}"


def test_classes_are_the_declared_ones_if_as_many_are_there() -> None:
    def published(labels: list[int]) -> Dataset:
        inputs = torch.zeros(len(labels), 3, 6, 7, dtype=torch.uint8)
        return _published("n", DECLARED, inputs, torch.tensor(labels), 2, Path("/there"))

    data = published([0, 1, 2, 2])
    assert (data.name, data.classes, data.test_from) == ("n", ("round", "square", "odd"), 2)
    assert data.source == "Shapes (Nobody 2026): 2 training and 2 test images of 7x6 colour pixels"
    assert published([0, 1, 1]).classes == ("0", "1")
    assert published([0, 1, 2, 3]).classes == ("0", "1", "2", "3")
    for labels, said in (
        ([0, 2], "square"),
        ([1, 2], "round"),
        ([2], "round"),
        ([0, 3], "1"),
        ([0, 1, 2, 5], "3"),
    ):
        assert refusal(published, labels) == f"/there: no example of class {said}"


ROWS = np.random.default_rng(1).integers(0, 256, (5, 3072), dtype=np.uint8)


@pytest.mark.parametrize("label", ["labels", "fine_labels"])
@pytest.mark.parametrize("where", [".", "cifar10"])
def test_an_archive_of_cifar_is_a_data_set(where: str, label: str, tmp_path: Path) -> None:
    (tmp_path / where).mkdir(exist_ok=True)
    numbers = LABELS.tolist()
    members: dict[str, bytes | None] = {
        "c/train": python2(ROWS[:3], numbers[:3], label.encode()),
        "c/test": python2(ROWS[3:], numbers[3:], label.encode()),
    }
    tarred(tmp_path / where / "cifar-10-python.tar.gz", members)
    data = _cifar("cifar10", DECLARED, label, Options(root=str(tmp_path), verify=False))
    assert isinstance(data.inputs, torch.Tensor)
    assert np.array_equal(data.inputs.numpy(), ROWS.reshape(5, 3, 32, 32))
    assert (data.labels.tolist(), data.labels.dtype) == (numbers, torch.int64)
    assert (data.name, data.classes, data.test_from) == ("cifar10", ("round", "square", "odd"), 3)
    assert data.source == "Shapes (Nobody 2026): 3 training and 2 test images of 32x32 colour pixels"
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: its MD5 is "):
        _cifar("cifar10", DECLARED, label, Options(root=str(tmp_path)))


def test_an_archive_of_cifar_is_looked_for_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(root=str(tmp_path))
    said = refusal(_cifar, "cifar10", DECLARED, "labels", options)
    how = "`ressearch data fetch cifar10` gets it; or name its directory with data.root"
    assert said == f"'cifar10': not found in {tmp_path}, {tmp_path / 'cifar10'}; {how}"
    members: dict[str, bytes | None] = {"c/train": python2(ROWS[:3], [0, 2, 0]), "c/test": python2(ROWS[3:], [2, 0])}
    file = tarred(tmp_path / "cifar-10-binary.tar.gz", members)
    monkeypatch.setitem(
        PUBLISHED, "cifar10", Published("", {"no.tar.gz": "", file.name: hashlib.md5(file.read_bytes()).hexdigest()})
    )
    assert refusal(_cifar, "cifar10", DECLARED, "labels", options) == f"{file}: no example of class square"
