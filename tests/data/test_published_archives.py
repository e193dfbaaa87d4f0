"""Archives under published names, written by hand: what is read of them, and every way in which one is spoilt."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import sys
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_sources import add

from ressearch.data.files import Published, _Plain, check_sum, md5, read_cifar, read_idx
from ressearch.errors import DataError

RNG = np.random.default_rng(6)
ROWS = RNG.integers(0, 256, (4, 3072), dtype=np.uint8)


def idx(sides: tuple[int, ...], data: bytes, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(sides)]) + b"".join(side.to_bytes(4, "big") for side in sides) + data


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as refused:
        call(*arguments)
    return str(refused.value)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 258), (1, 66_000), (0, 4)])
def test_gzipped_bytes_have_the_shape_of_their_header(shape: tuple[int, ...], tmp_path: Path) -> None:
    values = RNG.integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(shape, values.tobytes())))
    found = read_idx(tmp_path / "a.gz")
    assert found.dtype == np.uint8
    assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file of bytes (it starts with nothing)"),
        (b"\0\0\x08", "no IDX file of bytes (it starts with 000008)"),
        (idx((2,), b"12", kind=9), "no IDX file of bytes (it starts with 00000901)"),
        (b"what is this", "no IDX file of bytes (it starts with 77686174)"),
        (idx((2, 3), b"")[:-2], "damaged: its header says 0 bytes, more than it can hold"),
        (idx((2, 3), b"")[:-4], "damaged: its header says 2 bytes, more than it can hold"),
        (idx((2, 3), b"1234"), "damaged: its header says 6 bytes of data, but there are only 4"),
        (idx((2, 3), b"1234567"), "damaged: its header says 6 bytes of data, but there are more"),
        (idx((2**31, 2), b""), "damaged: its header says 4,294,967,296 bytes, more than it can hold"),
    ],
)
def test_what_is_no_array_of_bytes_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(content))
    assert refusal(read_idx, file) == f"{file}: {message}"


def test_a_header_is_believed_up_to_1032_times_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    size = len(gzip.compress(idx((1,), b""), 0))  # stored, so of one size whatever it says
    for over, said in ((0, " of data, but there are only 0"), (1, ", more than it can hold")):
        most = size * 1032 + over
        file.write_bytes(gzip.compress(idx((most,), b""), 0))
        counted = f"{most:,} bytes" if over else f"{most} bytes"
        assert refusal(read_idx, file) == f"{file}: damaged: its header says {counted}{said}"


def test_gzip_itself_is_spoilt_in_three_ways(tmp_path: Path) -> None:
    file, good = tmp_path / "a.gz", gzip.compress(idx((4000,), RNG.bytes(4000)))
    file.write_bytes(b"hello")
    assert refusal(read_idx, file) == f"{file}: damaged: Not a gzipped file (b'he')"
    file.write_bytes(good[:-2000])
    assert refusal(read_idx, file) == (
        f"{file}: damaged: Compressed file ended before the end-of-stream marker was reached"
    )
    file.write_bytes(good[:10] + b"\xff" * 20 + good[30:])
    assert refusal(read_idx, file).startswith(f"{file}: damaged: Error -3 while decompressing data: ")


def test_checksums_are_of_the_file_or_of_what_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "a.gz"
    file.write_bytes(gzip.compress(b"abc"))
    assert md5(file) == hashlib.md5(file.read_bytes()).hexdigest()
    whole, inside, other = md5(file), "900150983cd24fb0d6963f7d28e17f72", "0" * 32  # RFC 1321's MD5 of "abc"
    check_sum(file, Published("", {"a.gz": whole}))
    check_sum(file, Published("", {"a.gz": other}, None, {"a.gz": inside}))
    said = (
        f"{file}: its MD5 is {{found}}, the published file's {other}: damaged, or not the published file "
        "(then data.verify: false reads it)"
    )
    for contents in ({}, {"a.gz": other}, {"b.gz": inside}):
        assert refusal(check_sum, file, Published("", {"a.gz": other}, None, contents)) == said.format(found=whole)
    for content in (b"no gzip", gzip.compress(RNG.bytes(99))[:50], gzip.compress(b"abc")[:10] + b"\xff" * 20):
        file.write_bytes(content)
        found = hashlib.md5(content).hexdigest()
        published = Published("", {"a.gz": other}, None, {"a.gz": inside})
        assert refusal(check_sum, file, published) == said.format(found=found)


def python2(rows: np.ndarray, labels: list[int], name: bytes = b"labels") -> bytes:
    """A batch as Python 2 pickled it: texts are bytes; arrays as lists, which is the same to the reader."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def listed(value: Any) -> bytes:
        return pickle.dumps(value, protocol=2)[2:-1]

    entries = text(b"data") + listed(rows.tolist()) + b"s" + text(name) + listed(labels) + b"s"
    return b"\x80\x02}" + entries + text(b"batch_label") + text(b"\xe9") + b"s."


def tarred(path: Path, members: dict[str, bytes | None]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            if data is None:
                folder = tarfile.TarInfo(name)
                folder.type = tarfile.DIRTYPE
                tar.addfile(folder)
            else:
                add(tar, name, data)
    return path


JUNK: dict[str, bytes | None] = {
    "deep/train": None,
    "deep/data_batch_0": None,
    "deep/readme.html": b"junk",
    "deep/batches.meta": b"junk",
    "deep/testimony.txt": b"junk",
    "deep/data_batch_9.txt": b"junk",
}


def test_python_archives_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    file = tarred(
        tmp_path / "a.tar.gz",
        {
            "deep/down/test_batch": python2(ROWS[3:], [7]),
            "deep/down/data_batch_2": python2(ROWS[2:3], [8]),
            **JUNK,
            "deep/down/data_batch_1": python2(ROWS[:2], [9, 300]),
        },
    )
    found = read_cifar(file, "labels")
    assert list(found) == ["train", "test"]
    assert np.array_equal(found["train"][0], ROWS[:3])
    assert np.array_equal(found["test"][0], ROWS[3:])
    assert (found["train"][1].tolist(), found["test"][1].tolist()) == ([9, 300, 8], [7])
    assert (found["train"][0].dtype, found["train"][1].dtype) == (np.uint8, np.int64)
    hundred = {
        "a/train": python2(ROWS[:3], [1, 2, 3], b"fine_labels"),
        "a/test": python2(ROWS[3:], [4], b"fine_labels"),
    }
    found = read_cifar(tarred(tmp_path / "b.tar.gz", hundred), "fine_labels")
    assert (found["train"][1].tolist(), found["test"][1].tolist()) == ([1, 2, 3], [4])


@pytest.mark.parametrize("label", ["labels", "fine_labels"])
def test_binary_archives_have_labels_before_pixels_and_coarse_ones_before_fine(label: str, tmp_path: Path) -> None:
    coarse = [[99]] * 4 if label == "fine_labels" else [[]] * 4
    lead = np.hstack([np.array(coarse, np.uint8), np.array([[5], [6], [7], [8]], np.uint8)])
    records = np.hstack([lead, ROWS]).astype(np.uint8)
    members = {"deep/test_batch.bin": records[3:].tobytes(), **JUNK, "deep/data_batch_1.bin": records[:3].tobytes()}
    found = read_cifar(tarred(tmp_path / "a.tar.gz", members), label)
    assert np.array_equal(np.concatenate([found["train"][0], found["test"][0]]), ROWS)
    assert (found["train"][1].tolist(), found["test"][1].tolist()) == ([5, 6, 7], [8])
    assert found["test"][1].dtype == np.int64


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a/test_batch": python2(ROWS, [1] * 4)}, "holds no training part of CIFAR"),
        ({"a/data_batch_1": python2(ROWS, [1] * 4)}, "holds no test part of CIFAR"),
        ({"a/batches.meta": b"junk"}, "holds no training part of CIFAR"),
        (
            {"a/data_batch_1": python2(ROWS[:, :-1], [1] * 4)},
            "damaged, or no CIFAR archive: data_batch_1: images (4, 3071) and labels (4,) do not fit",
        ),
        (
            {"a/data_batch_1": python2(ROWS, [1] * 3)},
            "damaged, or no CIFAR archive: data_batch_1: images (4, 3072) and labels (3,) do not fit",
        ),
        (
            {"a/data_batch_1": python2(ROWS[0], [1] * 3072)},
            "damaged, or no CIFAR archive: data_batch_1: images (3072,) and labels (3072,) do not fit",
        ),
        ({"a/data_batch_1": python2(ROWS, [1] * 4, b"other")}, "damaged, or no CIFAR archive: b'labels'"),
        (
            {"a/data_batch_1.bin": bytes(3074)},
            "damaged, or no CIFAR archive: cannot reshape array of size 3074 into shape (3073)",
        ),
        (
            {"a/data_batch_1": b"cposix\nsystem\n."},
            "damaged, or no CIFAR archive: refused to load posix.system",
        ),
    ],
)
def test_an_archive_that_is_not_cifars_is_refused(
    members: dict[str, bytes | None], message: str, tmp_path: Path
) -> None:
    file = tarred(tmp_path / "a.tar.gz", members)
    said = refusal(read_cifar, file, "labels")
    assert said.replace("(newaxis,3073)", "(3073)").replace("(3073,)", "(3073)") == f"{file}: {message}"


@pytest.mark.parametrize(
    ("error", "said"), [(ValueError("one\ntwo"), "one"), (KeyError(), "KeyError"), (OSError(" odd "), "odd")]
)
def test_odd_errors_of_what_unpacks_are_damage_in_one_line(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any) -> Any:
        raise error

    monkeypatch.setattr("ressearch.data.files.tarfile.open", fails)
    assert refusal(read_cifar, tmp_path / "a", "labels") == f"{tmp_path / 'a'}: damaged, or no CIFAR archive: {said}"


def test_pickles_of_either_numpy_are_read_and_of_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(module: str, name: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy 2 warns of the old module's name
            return _Plain(io.BytesIO(f"c{module}\n{name}\n.".encode())).load()

    monkeypatch.setitem(sys.modules, "numpy.core.multiarray", None)  # as in a NumPy that has forgotten it
    rebuild = np.zeros(1).__reduce__()[0]
    assert loaded("numpy.core.multiarray", "_reconstruct") is rebuild
    assert loaded("numpy._core.multiarray", "_reconstruct") is rebuild
    assert (loaded("numpy", "ndarray"), loaded("numpy", "dtype")) == (np.ndarray, np.dtype)
    assert loaded("_codecs", "encode")("a", "ascii") == b"a"
    for module, name in (("numpy", "load"), ("os", "ndarray"), ("numpy.core.multiarray", "dtype")):
        with pytest.raises(pickle.UnpicklingError) as refused:
            loaded(module, name)
        assert str(refused.value) == f"refused to load {module}.{name}"
