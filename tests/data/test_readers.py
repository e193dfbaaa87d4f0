"""Every format, spoilt in every way: it is read, or one line names the file, and no memory is taken for nothing."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_sources import COLOUR, GREY, LABELS, NAMES, add, png, write_cifar, write_folder, write_idx

from ressearch.data import Options, from_arrays, load_dataset, registry
from ressearch.data.paths import whole
from ressearch.errors import DataError


def tars(root: Path) -> Path:
    root.mkdir()
    with tarfile.open(root / "0.tar", "w") as tar:
        for at, pixels in enumerate(COLOUR):
            add(tar, f"{at:02}.png", png(pixels))
            add(tar, f"{at:02}.json", json.dumps({"label": int(LABELS[at])}).encode())
    return root / "0.tar"


def images_parquet(root: Path) -> Path:
    root.mkdir()
    table = pd.DataFrame({"image": [png(one) for one in COLOUR], "label": NAMES[LABELS]})
    table.to_parquet(root / "0.parquet", row_group_size=6)
    return root / "0.parquet"


def table(root: Path, suffix: str) -> Path:
    root.mkdir()
    found = pd.DataFrame({"size": np.arange(24.0), "kind": np.array(["x", "y"])[LABELS % 2], "label": NAMES[LABELS]})
    file = root / f"t.{suffix}"
    found.to_csv(file, index=False) if suffix == "csv" else found.to_parquet(file)
    return file


def arrays(root: Path, save: Callable[..., None]) -> Path:
    root.mkdir()
    save(root / "a.npz", x=GREY, y=LABELS)
    return root / "a.npz"


def folder(root: Path) -> Path:
    write_folder(root)
    return root / "cat" / "000.png"


def idx_files(root: Path) -> Path:
    return write_idx(root) / "train-images-idx3-ubyte.gz"


def cifar(root: Path, name: str) -> Path:
    root.mkdir()
    return write_cifar(root / name, labels=np.arange(24) % 10)


FORMATS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], tuple[str, Options]]]] = {
    "imagefolder": (folder, lambda file: (f"imagefolder:{file.parents[1]}", Options())),
    "webdataset": (tars, lambda file: (f"webdataset:{file}", Options())),
    "parquet of images": (images_parquet, lambda file: (f"parquet:{file}", Options())),
    "parquet table": (lambda root: table(root, "parquet"), lambda file: (f"parquet:{file}", Options())),
    "csv": (lambda root: table(root, "csv"), lambda file: (f"csv:{file}", Options())),
    "npz": (lambda root: arrays(root, np.savez), lambda file: (f"npz:{file}", Options())),
    "npz compressed": (lambda root: arrays(root, np.savez_compressed), lambda file: (f"npz:{file}", Options())),
    "idx": (idx_files, lambda file: ("mnist", Options(root=str(file.parent), verify=False))),
    "cifar python": (
        lambda root: cifar(root, "cifar-10-python.tar.gz"),
        lambda file: ("cifar10", Options(root=str(file.parent), verify=False)),
    ),
    "cifar binary": (
        lambda root: cifar(root, "cifar-10-binary.tar.gz"),
        lambda file: ("cifar10", Options(root=str(file.parent), verify=False)),
    ),
}


def spoilt(good: bytes) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(1)  # its own: the same changes in whatever order tests run
    yield "empty", b""
    for share in (0.02, 0.3, 0.6, 0.9, 0.99):
        yield f"cut at {share}", good[: int(len(good) * share)]
    yield "cut by one byte", good[:-1]
    yield "random bytes", rng.integers(0, 256, 500, dtype=np.uint8).tobytes()
    yield "text", b"this is no data\n" * 20
    yield "zip of nothing", empty_zip()
    yield "pickle", pickle.dumps({"x": [1, 2]})
    yield "gzip of text", gzip.compress(b"hello")
    for at in range(60):
        changed = bytearray(good)
        places = rng.integers(0, min(len(good), 300) if at % 2 else len(good), 4)
        for place in places:
            changed[place] = rng.integers(0, 256)
        yield f"changed bytes {at}", bytes(changed)


def empty_zip() -> bytes:
    out = io.BytesIO()
    zipfile.ZipFile(out, "w").close()
    return out.getvalue()


def said(name: str, options: Options) -> str | None:
    """Load and read all; returns the error's text."""
    registry._loaded.cache_clear()
    try:
        whole(load_dataset(name, options).inputs)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("form", FORMATS)
def test_spoilt_files_end_in_one_line_that_names_them(tmp_path: Path, form: str) -> None:
    make, name_of = FORMATS[form]
    file = make(tmp_path / "data")
    name, options = name_of(file)
    assert said(name, options) is None
    good = file.read_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = []
    for way, data in spoilt(good):
        file.write_bytes(data)
        text = said(name, options)
        if text is None:
            is_padding = form == "webdataset" and way == "cut at 0.99"  # of the tar's last zeros
            assert way.startswith(("changed", "cut by one")) or form == "csv" or is_padding, way
            continue
        refused.append(way)
        assert "\n" not in text, (way, text)
        assert str(tmp_path) in text, (way, text)
        for nonsense in ("BytesIO", "allow_pickle", "unsafely", " object at 0x"):
            assert nonsense not in text, (way, text)
    assert len(refused) >= 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 2**19  # KiB: half a GiB


def npy(dtype: str, shape: str, data: bytes = b"") -> bytes:
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def archive(file: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(file, "w") as out:
        for name, data in members.items():
            out.writestr(f"{name}.npy", data)
    return file


LABEL = npy("'<i8'", "(4,)", np.array([0, 1, 0, 1]).tobytes())
INPUT = npy("'<f4'", "(4, 3)", np.arange(12, dtype=np.float32).tobytes())


def idx_header(*sides: int) -> bytes:
    return b"\0\0\x08" + bytes([len(sides)]) + b"".join(side.to_bytes(4, "big") for side in sides)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"x": npy("'|u1'", "(1000000000000, 3)"), "y": LABEL},
            "its header says 3,000,000,000,000 bytes, but 0 are there",
        ),
        ({"x": npy("'|u1'", "(-4, -3)", b"0" * 12), "y": LABEL}, "damaged: its header says"),
        ({"x": npy("'|O'", "(4,)", b"0" * 32), "y": LABEL}, "array 'x': holds Python objects, which are not read"),
        ({"x": npy("[('a', '<i4')]", "(4,)", b"0" * 16), "y": LABEL}, "expected an array of numbers"),
        ({"x": npy("'<c8'", "(4, 1)", b"0" * 32), "y": LABEL}, "expected an array of numbers"),
        ({"x": npy("'<f4'", "(0, 3)"), "y": npy("'<i8'", "(0,)")}, "holds no examples"),
        ({"x": INPUT, "y": npy("'<f8'", "(4,)", np.array([0, 1, np.nan, 1]).tobytes())}, "row 2 has no label"),
        ({"x": INPUT, "y": npy("'<f8'", "(4,)", np.array([0, 1, np.inf, 1]).tobytes())}, "row 2: inf is no class"),
        ({"x": INPUT, "y": npy("'<f8'", "(4,)", np.array([0, 1, 0.5, 1]).tobytes())}, "row 2: 0.5 is no class"),
        ({"x": INPUT, "y": npy("'<i8'", "(4,)", np.ones(4, np.int64).tobytes())}, "has one class (1)"),
        ({"x": INPUT, "y": npy("'<i8'", "(3,)", np.ones(3, np.int64).tobytes())}, "4 inputs but 3 labels"),
        ({"x": INPUT, "y": npy("'<M8[s]'", "(4,)", b"0" * 32)}, "are no classes"),
        (
            {"x": npy("'<f4'", "(4, 3)", np.full(12, np.nan, np.float32).tobytes()), "y": LABEL},
            "row 0 holds what is no",
        ),
        (
            {"x": npy("'<f8'", "(4, 3)", np.full(12, 1e300).tobytes()), "y": LABEL},
            "row 0 holds what is no finite number",
        ),
        ({"x": b"no header", "y": LABEL}, "damaged"),
        ({"z": INPUT}, "data.image has to name the column; there are z"),
    ],
)
def test_arrays_that_are_none_are_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    file = archive(tmp_path / "a.npz", **members)
    text = said(f"npz:{file}", Options())
    assert text is not None
    assert message in text
    assert str(file) in text


def test_a_zip_that_declares_terabytes_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.npz", x=npy("'|u1'", "(4294967294, 1)"), y=LABEL)
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))  # the first entry of the directory
    data[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)  # its size, not compressed
    file.write_bytes(data)
    text = said(f"npz:{file}", Options())
    assert text is not None
    assert "cannot be in the archive" in text


@pytest.mark.parametrize("sides", [(2**31, 2**31, 28), (60_000, 28, 28), (2**32 - 1,), ()])
def test_idx_headers_are_not_believed(tmp_path: Path, sides: tuple[int, ...]) -> None:
    file = idx_files(tmp_path / "idx")
    file.write_bytes(gzip.compress(idx_header(*sides) + b"12345"))
    text = said("mnist", Options(root=str(file.parent), verify=False))
    assert text is not None
    assert text.startswith(f"{file}: damaged: its header says")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.string())}, "holds no rows"),
        ({"x": pa.array([], pa.float64()), "label": pa.array([], pa.string())}, "holds no rows"),
        ({"image": [b"no image"] * 2, "label": ["a", "b"]}, "row 0: no image that can be read"),
        ({"image": [None, b""], "label": ["a", "b"]}, "row 0: column 'image' holds no encoded image"),
        ({"image": [{"path": "x"}] * 2, "label": ["a", "b"]}, "holds no encoded image"),
        ({"x": [1.0, 2.0], "label": [[1], [2, 3]]}, "label"),
        ({"x": [1.0, 2.0], "label": [{"a": 1}, {"a": 2}]}, "row 0: dict is no class"),
        ({"x": [[1.0], [2.0]], "label": ["a", "b"]}, "column 'x': list<"),
        ({"x": [1.0, float("nan")], "label": ["a", "b"]}, "column 'x': row 1 holds no finite number"),
        ({"x": [1.0, None], "label": ["a", "b"]}, "column 'x': row 1 has no value"),
        ({"label": ["a", "b"]}, "no column but the labels"),
        ({"x": [1.0, 2.0], "label": ["a", "a"]}, "has one class (a)"),
    ],
)
def test_parquet_that_holds_no_data_set_is_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "0.parquet")
    text = said(f"parquet:{tmp_path / '0.parquet'}", Options())
    assert text is not None
    assert message in text
    assert str(tmp_path) in text


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("[" * 100_000, "0.json: not valid JSON"),
        ('{"label": ' * 50_000, "0.json: not valid JSON"),
        ('{"label": [1, 2]}', "0.json: a list is no label"),
        ('{"label": {"a": 1}}', "0.json: a list is no label"),
        ("{}", "0.png: has no label"),
        ("null", "0.png: has no label"),
        ("\xff\xfe", "0.json: not valid JSON"),
        ("9" * 5000, "0.json: not valid JSON"),
    ],
)
def test_odd_labels_in_tars_are_refused(tmp_path: Path, label: str, message: str) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for at in range(2):
            add(tar, f"{at}.png", png(COLOUR[at]))
            add(tar, f"{at}.json", label.encode("latin-1"))
    text = said(f"webdataset:{tmp_path}", Options())
    assert text is not None
    assert message in text


@pytest.mark.parametrize("change", ["cut between two members", "joined with another"])
def test_tars_that_would_lose_examples_silently_are_refused(tmp_path: Path, change: str) -> None:
    file = tars(tmp_path / "tars")
    good = file.read_bytes()
    with tarfile.open(file) as tar:
        member = tar.getmembers()[10]
    file.write_bytes(good[: member.offset] if change.startswith("cut") else good + good)
    text = said(f"webdataset:{file}", Options())
    assert text is not None
    assert ("may have been cut" if change.startswith("cut") else "tars that were joined have to be apart") in text


def test_a_tar_member_longer_than_its_tar_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("0.png")
    info.size = 10**12
    (tmp_path / "0.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"1234" * 256)
    text = said(f"webdataset:{tmp_path}", Options())
    assert text is not None
    assert "0.png: damaged: the file ends before it does" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a table"),
        ("a,label\n", "holds no rows"),
        ("a,label\n1,x\n2,y,z\n", "cannot be read as a table"),
        ("a,a,label\n1,2,x\n1,2,y\n", "column 'a' is there 2 times"),
        ("a,label\n1,x\ninf,y\n", "column 'a': row 1 holds no finite number"),
        ("a,label\n1,x\n,y\n", "column 'a': row 1 has no value"),
        ("a,label\n1,x\n2,\n", "row 1 has no label"),
        ("a,label\n2020-01-01,x\n2020-01-02,y\n", "is neither numbers nor texts"),
        ("a,b\n1,2\n", "data.label has to name the column"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    found = said(f"csv:{tmp_path / 't.csv'}", Options())
    assert found is not None
    assert message in found


@pytest.mark.parametrize("kind", ["imagefolder", "webdataset", "parquet", "csv", "npz"])
@pytest.mark.parametrize("path", ["none/such", "a\0b", "x" * 5000, "."])
def test_paths_that_hold_nothing_end_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = said(f"{kind}:{path}", Options())
    assert text is not None
    assert "\n" not in text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("kind", ["imagefolder", "webdataset", "parquet", "csv", "npz", "mnist", "cifar10"])
def test_pipes_are_not_waited_for(tmp_path: Path, kind: str) -> None:
    name, options = f"{kind}:{tmp_path / 'pipe'}", Options()
    if kind == "imagefolder":
        for label in ("a", "b"):
            (tmp_path / label).mkdir()
            os.mkfifo(tmp_path / label / "0.png")
        name = f"imagefolder:{tmp_path}"
    elif kind in ("mnist", "cifar10"):
        name, options = kind, Options(root=str(tmp_path))
        os.mkfifo(tmp_path / ("train-images-idx3-ubyte.gz" if kind == "mnist" else "cifar-10-python.tar.gz"))
    else:
        os.mkfifo(tmp_path / "pipe")
    assert said(name, options) is not None


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        ([[1], [1, 2]], [0, 1], "expected an array of numbers"),
        ([["a"], ["b"]], [0, 1], "expected an array of numbers"),
        (np.zeros((2, 3)), [[0], [1, 2]], "labels"),
        (np.zeros((2, 3)), [None, 1], "row 0 has no label"),
        (np.zeros((2, 3)), [b"a", {}], "is no class"),
        (np.zeros((0, 3)), [], "holds no examples"),
        (np.zeros((2, 1, 1, 1, 1)), [0, 1], "expected an array of numbers"),
    ],
)
def test_arrays_from_python_are_checked_alike(inputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(inputs, labels)
