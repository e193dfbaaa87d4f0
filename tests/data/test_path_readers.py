"""Data sets that a path names: which folders are parts, which labels tars hold, what is resident and refused."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_decoding import Memory, shaded
from test_sources import add, png

from ressearch.data import Lazy, Options, load_dataset
from ressearch.data import paths as room
from ressearch.data.paths import (
    _decoded,
    _folder_parts,
    _folders,
    _hugging_face_names,
    _tar_label,
    described,
    read_images,
    whole,
)
from ressearch.errors import DataError


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(DataError) as refused:
        call(*arguments)
    return str(refused.value)


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
    return root


def test_folders_are_sorted_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    folders(tmp_path, "b", "a", ".hidden", "c.d")
    (tmp_path / "file").write_text("")
    assert _folders(tmp_path) == [tmp_path / "a", tmp_path / "b", tmp_path / "c.d"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "test"), {"train": "train", "test": "test"}),
        (("Training", "VAL", "testing"), {"train": "Training", "validation": "VAL", "test": "testing"}),
        (("train", "val"), {"train": "train", "test": "val"}),
        (("train",), {"train": "train"}),
        (("train", "other"), {"train": ""}),  # a class that is called so
        (("other", "train", "test"), {"train": "train", "test": "test"}),
        (("test", "other"), {"train": ""}),
        (("val", "test", "other"), {"train": ""}),
        (("a", "b"), {"train": ""}),
        ((), {"train": ""}),
    ],
)
def test_folders_are_parts_where_a_training_part_has_another_beside_it_or_is_alone(
    names: tuple[str, ...], expected: dict[str, str], tmp_path: Path
) -> None:
    found = _folder_parts(folders(tmp_path, *names))
    assert list(found.items()) == [(part, tmp_path / name) for part, name in expected.items()]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("val", "valid", "train"), "has two validation parts: val/ and valid/"),
        (("Train", "other", "training"), "has two train parts: Train/ and training/"),
        (("test",), "has a test part, but no train part"),
        (("test", "val"), "has a test and a validation part, but no train part"),
    ],
)
def test_folders_that_are_no_parts_to_train_on_are_refused(names: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert refusal(_folder_parts, folders(tmp_path, *names)) == f"{tmp_path}: {said}"


def images(root: Path, *names: str) -> Path:
    for at, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(np.full((2, 3), at, np.uint8)))
    return root


def test_an_image_folder_is_read_part_by_part_and_class_by_class(tmp_path: Path) -> None:
    names = ("train/b/0.png", "train/a/deep/1.PNG", "train/a/0.png", "val/b/0.png", "test/a/0.png", "test/b/1.png")
    root = images(tmp_path / "photos", *names)
    (root / "train" / "a" / "notes.txt").write_text("passed over")
    data = load_dataset(f"imagefolder:{root}")
    assert whole(data.inputs)[:, 0, 0, 0].tolist() == [2, 1, 0, 3, 4, 5]
    assert (data.labels.tolist(), data.classes) == ([0, 0, 1, 1, 0, 1], ("a", "b"))
    assert (data.name, data.test_from, data.validation_from) == (f"imagefolder:{root}", 4, 3)
    assert data.source == (
        "the image folder photos: 6 images of 3x2 grey pixels, 2 classes; "
        "published parts: 3 train, 1 validation (val/), 2 test"
    )
    images(root, "test/c/0.png")
    assert refusal(load_dataset, f"imagefolder:{root}", Options(size=2)) == (
        f"{root / 'test' / 'c'}: class 'c' is not in {root / 'train'}"
    )
    assert refusal(load_dataset, f"imagefolder:{tmp_path / 'none'}") == f"{tmp_path / 'none'}: no such directory"
    bare = folders(tmp_path / "bare", "train")
    assert refusal(load_dataset, f"imagefolder:{bare}") == (
        f"{bare / 'train'}: holds no folder; expected one for each class, with images in it"
    )
    folders(bare, "train/a", "train/b")
    assert refusal(load_dataset, f"imagefolder:{bare}", Options(size=2)) == (
        f"{bare / 'train'}: its folders hold no image (.png, .jpg, .jpeg, .webp, .bmp, .gif, .tif, .tiff, .ppm, .pgm)"
    )


def test_images_are_resident_up_to_a_bound_or_as_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(memory: str = "auto", **more: Any) -> Any:
        return read_images(Memory(shaded(5)), Options(memory=memory, **more))[0]

    for bound, is_lazy in ((60, False), (59, True)):
        monkeypatch.setattr(room, "RESIDENT", bound)
        assert isinstance(read(), Lazy) == is_lazy
        assert isinstance(read("stream"), Lazy)
        assert not isinstance(read("resident"), Lazy)
    found = read("resident")
    assert (tuple(found.shape), found[:, 0, 1, 2].tolist()) == ((5, 1, 3, 4), [0, 1, 2, 3, 4])
    found = read("stream", channels=3, size=2)
    assert (found.shape, found.channels, found.size, found.side) == ((5, 3, 2, 2), 3, 2, (2, 2))
    found = read("stream")
    assert (found.channels, found.size, found.side) == (1, None, (3, 4))
    colour = read_images(Memory([png(np.zeros((2, 3, 3), np.uint8))]), Options(memory="stream"))
    assert (colour[0].shape, colour[1]) == ((1, 3, 2, 3), None)
    assert refusal(read_images, Memory([b""]), Options()) == "image 0: no image that can be read (it is empty)"
    assert refusal(read_images, Memory([b""]), Options(channels=1)) == (
        "image 0: no image that can be read (it is empty)"
    )


def test_images_are_decoded_256_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    load = Lazy.load
    monkeypatch.setattr(Lazy, "load", lambda self, chosen: sizes.append(len(chosen)) or load(self, chosen))  # type: ignore[func-returns-value]
    lazy = Lazy(Memory(shaded(300, (1, 1))), 1, None, (1, 1))
    found, place = _decoded(lazy)
    assert (sizes, place, found.dtype) == ([256, 44], None, torch.uint8)
    assert torch.equal(whole(lazy).flatten().long(), torch.arange(300) % 256)
    assert whole(found) is found


def test_images_are_described_by_number_size_and_colour() -> None:
    lazy = Lazy(Memory(shaded(2)), 3, None, (3, 4))
    assert described(2000, lazy, "ab") == "2,000 images of 4x3 colour pixels, 2 classes, decoded when needed"
    assert described(7, torch.zeros(7, 1, 5, 6), "abc") == "7 images of 6x5 grey pixels, 3 classes"


@pytest.mark.parametrize(
    ("name", "text", "options", "label"),
    [
        ("a.cls", b" 7 \n", Options(), "7"),
        ("a.CLS", b"cat", Options(), "cat"),
        ("a.cls", b"\xff", Options(), "\ufffd"),
        ("a.cls", b"", Options(), ""),
        ("a.json", b"7", Options(), "7"),
        ("a.json", b'"cat"', Options(), "cat"),
        ("a.json", b"null", Options(), None),
        ("a.json", b"{}", Options(), None),
        ("a.json", b'{"a": 1}', Options(), None),
        ("a.json", b'{"a": 1, "label": 2, "y": 3}', Options(), "2"),
        ("a.json", b'{"a": 1, "label": 2}', Options(label="a"), "1"),
        ("a.json", b'{"label": null}', Options(), None),
        ("a.json", b'{"label": 1.5}', Options(), "1.5"),
    ],
)
def test_a_label_is_a_members_text_or_a_value_in_it(
    name: str, text: bytes, options: Options, label: str | None, tmp_path: Path
) -> None:
    (tmp_path / "0.tar").write_bytes(b"before" + text + b"after")
    assert _tar_label(tmp_path / "0.tar", 6, len(text), name, options) == label


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (b"{", Options(), "not valid JSON"),
        (b"[" * 100_000, Options(), "not valid JSON"),
        (b"[1]", Options(), "a list is no label; expected a number or a text"),
        (b'{"y": {}}', Options(), "a list is no label; expected a number or a text"),
        (b'{"labels": 1}', Options(label="label"), "data.label: no column 'label'; did you mean 'labels'?"),
        (b'{"1": 1}', Options(label="2"), "data.label: no column '2'; known: 1"),
    ],
)
def test_a_label_that_is_none_is_refused(text: bytes, options: Options, said: str, tmp_path: Path) -> None:
    file = tmp_path / "0.tar"
    file.write_bytes(b"before" + text)
    assert refusal(_tar_label, file, 6, len(text), "a.json", options) == f"{file}: a.json: {said}"


def test_a_label_is_at_most_a_megabyte(tmp_path: Path) -> None:
    file = tmp_path / "0.tar"
    file.write_bytes(b"7" + b" " * 2**20)
    assert _tar_label(file, 0, 2**20, "a.cls", Options()) == "7"
    assert refusal(_tar_label, file, 0, 2**20 + 1, "a.cls", Options()) == (
        f"{file}: a.cls: 1,048,577 bytes are no label"
    )


def schema(content: object) -> Any:
    return SimpleNamespace(metadata={b"huggingface": content if isinstance(content, bytes) else json.dumps(content)})


def test_classes_have_the_names_that_hugging_face_wrote_if_they_fit() -> None:
    def names(found: object) -> object:
        return {"info": {"features": {"y": {"names": found}}}}

    classes = ("0", "1")
    assert _hugging_face_names(schema(names(["no", "yes"])), "y", classes) == ("no", "yes")
    assert _hugging_face_names(schema(names([False, True])), "y", classes) == ("False", "True")
    for content in (names(["a", "b", "c"]), names(["a"]), names(3), {}, [], {"info": None}, b"{", b"[" * 100_000):
        assert _hugging_face_names(schema(content), "y", classes) is classes
    assert _hugging_face_names(schema(names(["no", "yes"])), "z", classes) is classes
    assert _hugging_face_names(schema(names(["no", "yes"])), "y", ("a", "b")) == ("a", "b")
    for metadata in (None, {}):
        assert _hugging_face_names(SimpleNamespace(metadata=metadata), "y", classes) is classes


def table(path: Path, sizes: list[float], kinds: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"size": pa.array(sizes, pa.float64()), "kind": pa.array(kinds, pa.string())}), path)
    return path


def test_tables_of_parts_are_one_table(tmp_path: Path) -> None:
    root = tmp_path / "t"
    table(root / "test.parquet", [5.0], ["b"])
    table(root / "train" / "0.parquet", [1.0, 2.0], ["a", "b"])
    table(root / "train" / "1.parquet", [3.0], ["a"])
    table(root / "val.parquet", [4.0], ["a"])
    data = load_dataset(f"parquet:{root}", Options(label="kind"))
    assert whole(data.inputs).flatten().tolist() == [1, 2, 3, 4, 5]
    assert (data.labels.tolist(), data.classes) == ([0, 1, 0, 0, 1], ("a", "b"))
    assert (data.name, data.test_from, data.validation_from) == (f"parquet:{root}", 4, 3)
    assert data.source == ("the table t: 5 rows, 1 feature, 2 classes; published parts: 3 train, 1 validation, 1 test")
    empty = table(root / "val.parquet", [], [])
    said = refusal(load_dataset, f"parquet:{root}", Options(label="kind", root="again"))
    assert said == f"{empty}: holds no rows"
    (tmp_path / "c.csv").write_text("size,label\n" + "1,a\n2,b\n" * 600)
    data = load_dataset(f"csv:{tmp_path / 'c.csv'}")
    assert data.name == f"csv:{tmp_path / 'c.csv'}"
    assert data.source == "the table c.csv: 1,200 rows, 1 feature, 2 classes"
    assert (data.test_from, data.validation_from) == (None, None)


def test_labels_of_tars_are_numbers_if_all_are(tmp_path: Path) -> None:
    def read(labels: list[str], root: str) -> tuple[tuple[str, ...], list[int]]:
        with tarfile.open(tmp_path / "0.tar", "w") as tar:
            for at, label in enumerate(labels):
                add(tar, f"{at}.cls", label.encode())
                add(tar, f"{at}.png", shaded(at + 1)[-1])
        data = load_dataset(f"webdataset:{tmp_path / '0.tar'}", Options(root=root))
        assert whole(data.inputs)[:, 0, 0, 0].tolist() == list(range(len(labels)))
        return data.classes, data.labels.tolist()

    assert read(["10", "9", "010"], "a") == (("9", "10"), [1, 0, 1])
    assert read(["10", "9", "x"], "b") == (("10", "9", "x"), [0, 1, 2])
    assert read(["1" * 18, "9"], "c") == (("9", "1" * 18), [1, 0])
    assert read(["1" * 19, "9"], "d") == (("1" * 19, "9"), [0, 1])
