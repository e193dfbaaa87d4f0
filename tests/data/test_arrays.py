"""NPZ archives written by NumPy and by hand: what is mapped, what is copied, and every way in which one is spoilt."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ressearch.data import arrays as room
from ressearch.data.arrays import read_npz
from ressearch.errors import DataError

RNG = np.random.default_rng(2)
LABELS = np.array([1, 0, 1, 0, 1])
FORMS: dict[str, np.ndarray] = {
    "grey bytes": RNG.integers(0, 256, (5, 4, 6), dtype=np.uint8),
    "colour bytes first": RNG.integers(0, 256, (5, 3, 4, 6), dtype=np.uint8),
    "colour bytes last": RNG.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8),
    "grey last": RNG.normal(size=(5, 4, 6, 1)).astype(np.float32),
    "vectors": RNG.normal(size=(5, 7)).astype(np.float32),
    "doubles": RNG.normal(size=(5, 7)),
    "sequences": RNG.normal(size=(5, 4, 7)).astype(np.float32),
    "whole numbers": RNG.integers(-9, 9, (5, 7)),
    "booleans": RNG.integers(0, 2, (5, 7)).astype(bool),
    "big-endian": RNG.normal(size=(5, 7)).astype(">f4"),
}


def wanted(values: np.ndarray) -> np.ndarray:
    """Examples first, channels before rows, bytes or float32."""
    if values.ndim == 4 and values.shape[3] in (1, 3) and values.shape[1] not in (1, 3):
        values = np.transpose(values, (0, 3, 1, 2))
    if values.dtype == np.uint8:
        return values[:, None] if values.ndim == 3 else values
    return values.astype(np.float32)


@pytest.mark.parametrize("block", [1, 60, 2**21])
@pytest.mark.parametrize("way", ["stored", "odd place", "compressed", "fortran"])
@pytest.mark.parametrize("form", FORMS)
def test_arrays_come_out_as_networks_take_them(
    form: str, way: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_BLOCK", block)
    values, file = FORMS[form], tmp_path / "a.npz"
    given = np.asfortranarray(values) if way == "fortran" else values
    name = "x" if way == "odd place" else "inputs"  # after the longer name an array begins at a multiple of 4
    (np.savez_compressed if way == "compressed" else np.savez)(file, **{name: given, "y": LABELS})
    inputs, place, labels, classes = read_npz(str(file), None, None)
    expected = wanted(values)
    assert inputs.numpy().dtype == expected.dtype
    assert np.array_equal(inputs.numpy(), expected)
    assert (labels.tolist(), classes) == ([1, 0, 1, 0, 1], ("0", "1"))
    is_bytes = form in ("grey bytes", "colour bytes first")
    can_map = (is_bytes and way == "odd place") or ((is_bytes or form in ("vectors", "sequences")) and way == "stored")
    assert (place is not None) == can_map
    if place is not None:
        mapped = np.memmap(file, expected.dtype, "r", place.offset, expected.shape)
        assert np.array_equal(mapped, expected)
        assert place.path == str(file)


def test_arrays_and_labels_are_found_by_their_usual_names_or_the_ones_that_are_given(tmp_path: Path) -> None:
    file, one, other = str(tmp_path / "a.npz"), FORMS["vectors"], FORMS["doubles"]
    np.savez(file, other=other, data=one, target=LABELS, mine=1 - LABELS)
    inputs, _, labels, _ = read_npz(file, None, None)
    assert np.array_equal(inputs.numpy(), one)
    assert labels.tolist() == LABELS.tolist()
    inputs, _, labels, _ = read_npz(file, "other", "mine")
    assert np.array_equal(inputs.numpy(), other.astype(np.float32))
    assert labels.tolist() == (1 - LABELS).tolist()
    fortran = np.asfortranarray(np.array([LABELS, LABELS]).T)[:, 0]
    np.savez(file, x=one, y=fortran)
    assert read_npz(file, None, None)[2].tolist() == LABELS.tolist()


def header(dtype: str, shape: str, version: int = 1, fortran: bool = False) -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    size = struct.pack("<H", len(text)) if version == 1 else struct.pack("<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


GOOD = header("'<f4'", "(2, 2)") + np.arange(4, dtype=np.float32).tobytes()
NO_NUMBERS = "array 'x': expected an array of numbers, examples first; got"
LABEL = header("'<i8'", "(2,)") + np.array([0, 1]).tobytes()


def archive(file: Path, members: dict[str, bytes], way: int = zipfile.ZIP_STORED) -> str:
    with zipfile.ZipFile(file, "w", way) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return str(file)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (header("'|O'", "(2,)"), "array 'x': holds Python objects, which are not read: they could run code"),
        (header("'<f4'", "(2, 2)", version=3), "array 'x': holds no plain array of numbers or texts"),
        (b"\x93NUMPY\x01\x00\x04\x00{{{\n", "array 'x': damaged: its header describes no array"),
        (
            header("'<f4'", "(3, 500)") + b"12345678",
            "array 'x': damaged: its header says 6,000 bytes, but 8 are there",
        ),
        (
            header("'<f4'", "(-2, -2)") + bytes(16),
            "array 'x': damaged: its header says 16 bytes, but 16 are there",
        ),
        (header("'<f4'", "(2,)") + bytes(8), f"{NO_NUMBERS} float32 (2,)"),
        (header("'<c8'", "(2, 1)") + bytes(16), f"{NO_NUMBERS} complex64 (2, 1)"),
        (header("'<f4'", "(0, 3)"), "0 inputs but 2 labels"),
        (header("'<f4'", "()") + bytes(4), "no row of inputs but 2 labels"),
        (header("'<f4'", "(3, 1)") + bytes(12), "3 inputs but 2 labels"),
        (
            header("'<f4'", "(2, 1)") + np.array([1, np.inf], np.float32).tobytes(),
            "array 'x': row 1 holds what is no finite number (of 32 bits)",
        ),
    ],
)
def test_an_archive_whose_array_cannot_be_is_refused(x: bytes, message: str, tmp_path: Path) -> None:
    file = archive(tmp_path / "a.npz", {"x.npy": x, "y.npy": LABEL, "notes.txt": b"passed over"})
    with pytest.raises(DataError) as refused:
        read_npz(file, None, None)
    assert str(refused.value) == f"{file}: {message}"


def test_a_second_version_of_headers_is_read(tmp_path: Path) -> None:
    long = header("'<f4'", "(2, 2)", version=2) + np.arange(4, dtype=np.float32).tobytes()
    inputs, _, _, _ = read_npz(archive(tmp_path / "a.npz", {"x.npy": long, "y.npy": LABEL}), None, None)
    assert inputs.tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, None), "data.image has to name the column; there are inside, y"),
        (("insid", None), "data.image: no column 'insid'; did you mean 'inside'?"),
        (("inside", "z"), "data.label: no column 'z'; "),
    ],
)
def test_a_name_that_is_not_there_is_refused(arguments: tuple[Any, Any], message: str, tmp_path: Path) -> None:
    file = archive(tmp_path / "a.npz", {"inside.npy": GOOD, "y.npy": LABEL})
    with pytest.raises(DataError) as refused:
        read_npz(file, *arguments)
    assert str(refused.value).startswith(f"{file}: {message}")
    bare = archive(tmp_path / "b.npz", {"x.npy": GOOD, "z.npy": LABEL})
    with pytest.raises(DataError) as refused:
        read_npz(bare, None, None)
    assert str(refused.value) == f"{bare}: data.label has to name the column; there are x, z"


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(DataError) as refused:
            read_npz(str(path), None, None)
        text = str(refused.value)
        assert text.startswith(f"{path}: ")
        return text.removeprefix(f"{path}: ")

    assert said(tmp_path) == "is no file"
    assert said(tmp_path / "none.npz") == "no such file or directory"
    (tmp_path / "a.npz").write_bytes(b"hello")
    assert said(tmp_path / "a.npz") == "no NPZ archive, as numpy.savez writes it"
    assert said(Path(archive(tmp_path / "b.npz", {"x.npy": GOOD, "y.npy": LABEL}, zipfile.ZIP_BZIP2))) == (
        "array 'x': is compressed in a way that numpy does not write"
    )
    whole = Path(archive(tmp_path / "c.npz", {"x.npy": GOOD, "y.npy": LABEL})).read_bytes()
    at = whole.index(np.arange(4, dtype=np.float32).tobytes())
    for name in (b"x.npy", b"y.npy"):
        (tmp_path / "d.npz").write_bytes(whole.replace(name, b"q" + name[1:], 1))  # the two names differ
        assert said(tmp_path / "d.npz").startswith("damaged: ")
    (tmp_path / "e.npz").write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    assert said(tmp_path / "e.npz") == "damaged: Bad CRC-32 for file 'x.npy'"


def test_sizes_that_the_archive_cannot_hold_are_refused(tmp_path: Path) -> None:
    for way, sizes in ((zipfile.ZIP_STORED, (144, 145)), (zipfile.ZIP_DEFLATED, None)):
        file = Path(archive(tmp_path / "a.npz", {"x.npy": GOOD, "y.npy": LABEL}, way))
        data = bytearray(file.read_bytes())
        at = data.index(b"PK\x01\x02")
        packed, size = struct.unpack("<II", data[at + 20 : at + 28])
        assert size == len(GOOD) == 144
        most = packed if sizes else packed * 1032
        data[at + 24 : at + 28] = struct.pack("<I", most + 1)
        file.write_bytes(data)
        with pytest.raises(DataError) as refused:
            read_npz(str(file), None, None)
        assert str(refused.value) == f"{file}: array 'x': damaged: {most + 1:,} bytes cannot be in the archive"
        data[at + 24 : at + 28] = struct.pack("<I", most)
        file.write_bytes(data)
        if not sizes:
            with pytest.raises(DataError, match="its header says 16 bytes, but"):
                read_npz(str(file), None, None)


def test_odd_errors_of_what_reads_are_damage_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = archive(tmp_path / "a.npz", {"x.npy": GOOD, "y.npy": LABEL})
    for error, said in (
        (NotImplementedError("one\ntwo"), "damaged: one"),
        (KeyError(), "damaged: KeyError"),
        (OSError(5, "Input/Output Error"), "input/output error"),
        (OSError("Odd"), "odd"),
        (EOFError("early"), "damaged: early"),
        (DataError("as it is"), None),
    ):

        def fails(*arguments: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(room, "_described", fails)
        with pytest.raises(DataError) as refused:
            read_npz(file, None, None)
        assert str(refused.value) == ("as it is" if said is None else f"{file}: {said}")


def test_a_tensor_in_place_is_read_through_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, inputs=FORMS["vectors"], y=LABELS)
    inputs, place, _, _ = read_npz(str(file), None, None)
    assert place is not None
    inputs[0, 0] = 77.0  # a copy on write: the file stays
    assert np.load(file)["inputs"][0, 0] == FORMS["vectors"][0, 0]
    assert torch.equal(place.open()[1:], inputs[1:])


@pytest.mark.parametrize(
    ("block", "sizes"), [(1, [1] * 5), (28, [1] * 5), (56, [2, 2, 1]), (83, [2, 2, 1]), (999, [5])]
)
def test_arrays_are_read_by_as_many_examples_as_a_block_holds(
    block: int, sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_BLOCK", block)
    seen: list[tuple[int, int]] = []
    apply = room.Layout.apply
    monkeypatch.setattr(
        room.Layout,
        "apply",
        lambda self, some, start: seen.append((start, len(some))) or apply(self, some, start),  # type: ignore[func-returns-value]
    )
    np.savez(tmp_path / "a.npz", x=FORMS["vectors"], y=LABELS)  # 28 bytes an example
    read_npz(str(tmp_path / "a.npz"), None, None)
    assert seen == [(sum(sizes[:at]), size) for at, size in enumerate(sizes)]


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("name", ["x", "y"])
def test_an_array_that_ends_early_is_named(name: str, fortran: bool, tmp_path: Path) -> None:
    """Of a packed array the directory and the header say 16 bytes, but there are 8."""
    shape, dtype = ("(2, 2)", "'<f4'") if name == "x" else ("(2,)", "'<i8'")
    short = header(dtype, shape, fortran=fortran) + bytes(8)
    members = {"x.npy": GOOD, "y.npy": LABEL, f"{name}.npy": short}
    file = Path(archive(tmp_path / "a.npz", members, zipfile.ZIP_DEFLATED))
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02", 0 if name == "x" else data.index(b"PK\x01\x02") + 4)
    assert data[at + 46 : at + 51] == f"{name}.npy".encode()
    data[at + 24 : at + 28] = struct.pack("<I", len(short) + 8)
    file.write_bytes(data)
    with pytest.raises(DataError) as refused:
        read_npz(str(file), None, None)
    where = f"{file}: array 'x'" if name == "x" else str(file)
    assert str(refused.value) == f"{where}: damaged: ends early"
