"""Data sets of the hub through a library of a few lines that stands in for Hugging Face's, whatever is installed."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ressearch.data import Options, load_dataset, registry
from ressearch.data.hub import _HubImages, _library, _parts, _read, fetch
from ressearch.data.paths import whole
from ressearch.errors import DataError


class Column:
    def __init__(self, names: list[str] | None = None, decode: bool = True) -> None:
        self.names, self.decode = names, decode


class Rows:
    """A split: columns of values, and what the library says of them."""

    def __init__(self, features: dict[str, Any] | None = None, **columns: list[Any]) -> None:
        self.columns, self.features = columns, dict.fromkeys(columns) | (features or {})
        self.column_names = list(columns)
        self._fingerprint = f"{sorted(columns)}"
        self.is_arrow = False

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, which: Any) -> Any:
        if self.is_arrow:
            return pa.table(self.columns)[which] if isinstance(which, str) else pa.table(self.columns)
        return (
            self.columns[which] if isinstance(which, str) else {name: one[which] for name, one in self.columns.items()}
        )

    def with_format(self, name: str) -> Rows:
        found = Rows(self.features, **self.columns)
        found.is_arrow = name == "arrow"
        return found

    def cast_column(self, name: str, kind: Column) -> Rows:
        assert not kind.decode
        assert name in self.columns
        return self


class Library(ModuleType):
    """Notes how it is asked, and answers with what it is given."""

    ClassLabel = Column
    Image = Column

    def __init__(self) -> None:
        super().__init__("datasets")
        self.config = SimpleNamespace(HF_HUB_OFFLINE=False)
        self.has_bars = True
        self.answer: Any = None
        self.asked: list[tuple[str, bool, bool, int]] = []

    def are_progress_bars_disabled(self) -> bool:
        return not self.has_bars

    def disable_progress_bars(self) -> None:
        self.has_bars = False

    def enable_progress_bars(self) -> None:
        self.has_bars = True

    def load_dataset(self, name: str) -> Any:
        level = logging.getLogger("huggingface_hub").level
        self.asked.append((name, self.config.HF_HUB_OFFLINE, self.has_bars, level))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found, hub = Library(), ModuleType("huggingface_hub")
    hub.constants = SimpleNamespace(HF_HUB_OFFLINE=False)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", found)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    registry._loaded.cache_clear()
    return found


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(DataError) as refused:
        call(*arguments)
    return str(refused.value)


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    said = "'hub:o/n': needs Hugging Face's library: pip install datasets"
    assert refusal(_library, "o/n") == said
    assert refusal(_read, "o/n") == said
    assert refusal(fetch, "o/n", print) == said


def test_studies_read_what_is_here_offline_and_quietly(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.answer = {"train": Rows(a=[1])}
    assert _read("o/n") is library.answer
    rows = library.answer = Rows(a=[1])
    assert _read("o/n") == {"train": rows}
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    _read("here")
    assert library.asked == [(name, True, False, logging.CRITICAL) for name in ("o/n", "o/n", str(tmp_path / "here"))]
    assert library.config.HF_HUB_OFFLINE is False
    assert library.has_bars
    assert logging.getLogger("huggingface_hub").level != logging.CRITICAL
    library.has_bars = False  # as somebody chose
    _read("here")
    assert not library.has_bars


@pytest.mark.parametrize(
    ("error", "name", "said"),
    [
        (OSError("no network"), "o/n", "is not in the hub's local cache; `ressearch data fetch hub:o/n` downloads it"),
        (ConnectionError("x"), "o/n", "is not in the hub's local cache; `ressearch data fetch hub:o/n` downloads it"),
        (ValueError(" one\ntwo"), "o/n", "cannot be read: one"),
        (KeyError(), "o/n", "cannot be read: KeyError"),
        (ValueError("x" * 300), "o/n", f"cannot be read: {'x' * 200}"),
        (OSError("damaged\nmore"), "here", "cannot be read: damaged"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    error: Exception, name: str, said: str, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    library.answer = error
    assert refusal(_read, name) == f"'hub:{name}': {said}"
    assert library.config.HF_HUB_OFFLINE is False


def test_fetching_goes_online_and_counts_what_came(library: Library) -> None:
    said: list[str] = []
    library.answer = {"train": Rows(a=[0] * 1200), "test": Rows(a=[0] * 3)}
    fetch("o/n", said.append)
    library.answer = Rows(a=[0] * 1200)
    fetch("o/m", said.append)
    assert said == ["hub:o/n: fetched, 1,200 train, 3 test", "hub:o/m: fetched, 1,200 train"]
    assert library.asked == [(name, False, False, logging.CRITICAL) for name in ("o/n", "o/m")]
    for error, text in ((OSError(" one\ntwo"), "one"), (KeyError(), "KeyError"), (ValueError("x" * 300), "x" * 200)):
        library.answer = error
        assert refusal(fetch, "o/n", said.append) == f"'hub:o/n': cannot be fetched: {text}"
    assert len(said) == 2


def test_splits_are_parts_by_their_names() -> None:
    one, two, three, four = (Rows(a=[at]) for at in range(4))
    for given, expected in (
        ({"whatever": one}, {"train": one}),
        ({"test": one, "train": two}, {"train": two, "test": one}),
        ({"Train": one, "VAL": two, "extra": three}, {"train": one, "test": two}),
        ({"train": one, "valid": two, "testing": three}, {"train": one, "validation": two, "test": three}),
        (
            {"train": one, "training": two, "test": three, "val": four},
            {"train": one, "validation": four, "test": three},
        ),
        ({1: two, "train": one}, {"train": one}),
    ):
        assert list(_parts(given, "w").items()) == list(expected.items())  # type: ignore[arg-type]
    assert refusal(_parts, {"test": one, "other": two}, "w") == "w: has no train split; there are test, other"
    assert refusal(_parts, {"train": one, "test": Rows(a=[])}, "w") == "w: its test split holds no rows"
    assert refusal(_parts, {"unsupervised": Rows(a=[])}, "w") == "w: its train split holds no rows"


def png(shade: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((2, 3), shade, np.uint8)).save(out, "PNG")
    return out.getvalue()


def test_images_of_several_parts_are_counted_on(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"in a file")
    first = Rows(img=[{"bytes": b"a", "path": "none"}, b"b"])
    second = Rows(img=[{"bytes": None, "path": str(tmp_path / "a.png")}, {"bytes": None, "path": None}, None, {}, 3])
    images = _HubImages([first, second], "img", "w")
    assert len(images) == 7
    assert [images.read(at) for at in range(3)] == [
        (b"a", "w: row 0"),
        (b"b", "w: row 1"),
        (b"in a file", "w: row 2"),
    ]
    for at in range(3, 7):
        assert refusal(images.read, at) == f"w: row {at}: column 'img' holds no encoded image"
    with pytest.raises(IndexError, match=r"^7$"):
        images.read(7)
    assert images.identity() == "w|[\"['img']\", \"['img']\"]"


def test_images_and_tables_of_the_hub_are_data_sets(library: Library) -> None:
    kinds = {"label": Column(["zero", "one"])}
    train = Rows(kinds, image=[{"bytes": png(at)} for at in range(4)], label=[0, 1, 1, 0])
    test = Rows(kinds, image=[{"bytes": png(at)} for at in (9, 8)], label=[1, 0])
    library.answer = {"test": test, "train": train}
    data = load_dataset("hub:o/n")
    assert whole(data.inputs)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 9, 8]
    assert (data.name, data.labels.tolist(), data.classes, data.test_from) == (
        "hub:o/n",
        [0, 1, 1, 0, 1, 0],
        ("zero", "one"),
        4,
    )
    assert data.source == ("the hub's o/n: 6 images of 3x2 grey pixels, 2 classes; published parts: 4 train, 2 test")
    library.answer = {"validation": Rows({"label": Column(["a", "b", "c"])}, size=[1.5, 2.5], label=[0, 1])}
    data = load_dataset("hub:o/m")
    assert (whole(data.inputs).tolist(), data.classes) == ([[1.5], [2.5]], ("0", "1"))
    assert data.source == "the hub's o/m: 2 rows, 1 feature, 2 classes; its only split is 'validation'"
    library.answer = {"train": Rows(size=[1.5, 2.5], kind=["b", None])}
    assert refusal(load_dataset, "hub:o/k", Options(label="kind")) == "hub:o/k: row 1 has no label"
    assert refusal(load_dataset, "hub:o/k") == "hub:o/k: data.label has to name the column; there are size, kind"
    assert library.config.HF_HUB_OFFLINE is False
