"""Files, tars and Parquet rows as sources of bytes: what is read, kept, copied and refused, by files written here."""

from __future__ import annotations

import json
import os
import pickle
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_sources import add

from ressearch.data import sources as room
from ressearch.data.sources import Files, Rows, TarMembers, opened_parquet, read_at, tar_members
from ressearch.errors import DataError


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(DataError) as refused:
        call(*arguments)
    return str(refused.value)


def stamped(path: Path) -> list[Any]:
    return [str(path), path.stat().st_size, path.stat().st_mtime_ns]


def test_files_are_read_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "images"
    (root / "deep").mkdir(parents=True)
    odd = os.fsdecode(b"\xff.png")
    for name, data in (("a.png", b"one"), ("deep/longer name.png", b"two"), (odd, b"three")):
        (root / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    names = ["a.png", "deep/longer name.png", odd]
    files = Files(Path("images"), [Path("images") / name for name in names])
    monkeypatch.chdir(root)
    assert len(files) == 3
    assert [files.read(at) for at in range(3)] == [
        (data, str(root / name)) for name, data in zip(names, (b"one", b"two", b"three"), strict=True)
    ]
    before = files.identity()
    assert json.loads(before) == [str(root), [stamped(root / name) for name in names]]
    (root / "a.png").unlink()
    assert json.loads(files.identity())[1][0] == [str(root / "a.png")]
    assert refusal(files.read, 0) == f"{root / 'a.png'}: no such file or directory"
    (root / "a.png").mkdir()
    assert refusal(files.read, 0) == f"{root / 'a.png'}: is no file"

    def fails(path: str) -> Any:
        raise OSError("Something Odd")

    monkeypatch.setattr(room.os, "stat", fails)
    assert refusal(files.read, 1) == f"{root / 'deep' / 'longer name.png'}: something odd"
    files.prepare()
    assert files.sample([1]) is files


def test_bytes_are_read_from_their_place(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"0123456789")
    assert read_at(str(file), 3, 4, "n") == b"3456"
    assert read_at(str(file), 0, 10, "n") == b"0123456789"
    assert read_at(str(file), 10, 0, "n") == b""
    for start, length in ((-1, 3), (3, -1), (0, 11), (7, 4)):
        said = f"{file}: n: damaged: the file ends before it does"
        assert refusal(read_at, str(file), start, length, "n") == said
    assert refusal(read_at, str(tmp_path / "none"), 0, 1, "n") == f"{tmp_path / 'none'}: no such file or directory"
    assert refusal(read_at, str(tmp_path), 0, 1, "n") == f"{tmp_path}: is a directory"


def test_an_error_without_a_reason_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> Any:
        raise OSError("Something Odd")

    monkeypatch.setattr("builtins.open", fails)
    assert refusal(read_at, "f", 0, 1, "n") == "f: something odd"


def tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as out:
        for name, data in members:
            add(out, name, data)
    return path


def test_members_of_tars_are_read_from_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = b"\xff.png".decode("utf-8", "surrogateescape")
    first = tar(tmp_path / "0.tar", ("a.PNG", b"one"), ("a.txt", b"not this"), ("d/b.cls", b"7"))
    second = tar(tmp_path / "1.tar", ("longer name.png", b"three"), (odd, b"four"))
    monkeypatch.chdir(tmp_path)
    found = list(tar_members([Path("0.tar"), Path("1.tar")], [".png", ".cls"]))
    assert [(at, length, name) for at, _, length, name in found] == [
        (0, 3, "a.PNG"),
        (0, 1, "d/b.cls"),
        (1, 5, "longer name.png"),
        (1, 4, odd),
    ]
    source = TarMembers([Path("0.tar"), Path("1.tar")], np.array([one[:3] for one in found]), [one[3] for one in found])
    monkeypatch.chdir("/")
    assert len(source) == 4
    assert [source.read(at) for at in range(4)] == [
        (b"one", f"{first}: a.PNG"),
        (b"7", f"{first}: d/b.cls"),
        (b"three", f"{second}: longer name.png"),
        (b"four", f"{second}: \ufffd.png"),
    ]
    places = [list(one[:3]) for one in found]
    assert json.loads(source.identity()) == [[stamped(first), stamped(second)], places]
    second.write_bytes(second.read_bytes()[:700])
    assert refusal(source.read, 3) == f"{second}: \ufffd.png: damaged: the file ends before it does"


def test_folders_in_a_tar_are_passed_over_whatever_their_names(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as out:
        folder = tarfile.TarInfo("all.png")
        folder.type = tarfile.DIRTYPE
        out.addfile(folder)
        add(out, "all.png/a.png", b"one")
        add(out, "b.txt", b"two")
        add(out, "c.png", b"")
    assert [one[2:] for one in tar_members([tmp_path / "0.tar"], [".png"])] == [(3, "all.png/a.png"), (0, "c.png")]


def members(path: Path) -> list[Any]:
    return list(tar_members([path], [".png"]))


def test_a_tar_without_its_end_is_refused(tmp_path: Path) -> None:
    file = tar(tmp_path / "0.tar", ("a.png", b"one"))
    good = file.read_bytes()
    assert len(good) == 10240  # a header, a block of data, and zeros
    cut = f"{file}: damaged: the tar ends without its last blocks, so it may have been cut"
    more = f"{file}: holds more after the tar's end; tars that were joined have to be apart"
    short = f"{file}: a.png: damaged: the file ends before it does"
    for content, said in (
        (good[:1536], None),  # one block of zeros is enough
        (good[:1024], cut),
        (good[:1535], cut),
        (good[:1024] + b"\1" * 512, cut),  # no header
        (good[:1536] + b"\1", more),
        (good[:1536] + bytes(9000) + b"\1", more),
        (good + good, more),
        (good[:514], short),
        (good[:148] + b"00000000" + good[156:], f"{file}: no uncompressed tar that can be read (bad checksum)"),
        (b"no tar at all" * 99, f"{file}: no uncompressed tar that can be read (invalid header)"),
    ):
        file.write_bytes(content)
        if said is None:
            assert members(file) == [(0, 512, 3, "a.png")]
        else:
            assert refusal(members, file) == said
    file.unlink()
    said = f"{file}: no uncompressed tar that can be read ([Errno 2] No such file or directory: '{file}')"
    assert refusal(members, file) == said


IMAGES = [bytes([at]) * (at + 1) for at in range(12)]


def parquet(path: Path, values: Any = None, size: int = 3, column: str = "image") -> Path:
    pq.write_table(pa.table({column: IMAGES if values is None else values}), path, row_group_size=size)
    return path


@contextmanager
def groups_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The row groups that are read meanwhile, in order."""
    read: list[int] = []
    real = pq.ParquetFile.read_row_group

    def watched(self: Any, at: int, columns: list[str]) -> Any:
        read.append(at)
        return real(self, at, columns=columns)

    with monkeypatch.context() as patched:
        patched.setattr(pq.ParquetFile, "read_row_group", watched)
        yield read


def test_rows_are_read_by_row_group_and_the_last_groups_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = parquet(tmp_path / "a.parquet"), parquet(tmp_path / "b.parquet", [b"x", b"y"])
    monkeypatch.chdir(tmp_path)
    rows = Rows([Path("a.parquet"), Path("b.parquet")], "image")
    monkeypatch.chdir("/")
    assert len(rows) == 14
    everything = [(data, f"{first}: row {at}") for at, data in enumerate(IMAGES)]
    everything += [(b"x", f"{second}: row 12"), (b"y", f"{second}: row 13")]
    monkeypatch.setattr(Rows, "_KEPT", 2)
    with groups_read(monkeypatch) as read:
        for at in (0, 2, 3, 0, 5, 6, 3, 0, 13, 12, 0, 3):
            assert rows.read(at) == everything[at]
    assert read == [0, 1, 2, 0, 0, 1]  # of the second file's only group 0 once; of two that are kept, the older goes
    assert [rows.read(at) for at in range(14)] == everything
    assert json.loads(rows.identity()) == ["image", [stamped(first), stamped(second)]]
    sent = pickle.loads(pickle.dumps(rows))
    assert sent._held == {}
    assert len(rows._held) == 2
    assert [sent.read(at) for at in range(14)] == everything
    assert len(Rows([parquet(tmp_path / "c.parquet", pa.array([], pa.binary()))], "image")) == 0
    assert len(Rows([], "image")) == 0


def test_structs_hold_bytes_and_other_values_are_refused(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", [{"bytes": b"x", "path": "p"}, {"bytes": None, "path": "p"}])
    rows = Rows([file], "image")
    assert rows.read(0) == (b"x", f"{file}: row 0")
    assert refusal(rows.read, 1) == f"{file}: row 1: column 'image' holds no encoded image"
    numbers = Rows([parquet(tmp_path / "b.parquet", [1, 2], column="n")], "n")
    assert refusal(numbers.read, 1) == f"{tmp_path / 'b.parquet'}: row 1: column 'n' holds no encoded image"


def size_of(*files: Path) -> int:
    return sum(pq.ParquetFile(one).metadata.row_group(at).total_byte_size for one in files for at in range(4))


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How large the files are that are asked for; each is a new one."""
    asked: list[int] = []

    def new(size: int) -> Path:
        asked.append(size)
        return tmp_path / f"copy{len(asked)}"

    monkeypatch.setattr(room, "new_file", new)
    return asked


def test_many_or_large_groups_are_copied_once_to_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rooms: list[int]
) -> None:
    file = parquet(tmp_path / "a.parquet")
    size = size_of(file)
    for kept, most, is_copied in ((4, size, False), (3, size, True), (4, size - 1, True)):
        monkeypatch.setattr(Rows, "_KEPT", kept)
        monkeypatch.setattr(Rows, "_KEPT_BYTES", most)
        rows = Rows([file], "image")
        rows.prepare()
        assert (rows._copy is not None) == is_copied
        assert rows.sample([1]) is rows
    assert rooms == [size, size]
    rows.prepare()
    assert len(rooms) == 2
    copy = tmp_path / "copy2"
    assert copy.read_bytes() == b"".join(IMAGES)
    with groups_read(monkeypatch) as read:
        for one in (rows, pickle.loads(pickle.dumps(rows))):
            assert [one.read(at) for at in range(12)] == [(IMAGES[at], f"{file}: row {at}") for at in range(12)]
    assert read == []
    copy.unlink()  # as on another node
    assert rows.read(7) == (IMAGES[7], f"{file}: row 7")


def test_some_rows_are_copied_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rooms: list[int]) -> None:
    file = parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(Rows, "_KEPT", 1)
    rows = Rows([file], "image")
    some: Any = rows.sample([9, 2, 4, 2])
    assert some is not rows
    assert some._copy[1].dtype == np.int64
    assert (rows._copy, rooms) == (None, [0])
    assert (tmp_path / "copy1").read_bytes() == IMAGES[2] + IMAGES[4] + IMAGES[9]
    with groups_read(monkeypatch) as read:
        assert [some.read(at)[0] for at in (9, 2, 4)] == [IMAGES[9], IMAGES[2], IMAGES[4]]
    assert read == []
    assert len(some) == 12


def test_without_room_rows_are_read_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(Rows, "_KEPT", 1)

    class Full(type(tmp_path)):  # type: ignore[misc]
        def open(self, *arguments: Any) -> Any:
            Path(self).write_bytes(b"some")
            raise OSError(28, "No space left on device")

    for new in (lambda size: None, lambda size: Full(tmp_path / "copy")):
        monkeypatch.setattr(room, "new_file", new)
        rows = Rows([file], "image")
        rows.prepare()
        assert rows._copy is None
        assert not (tmp_path / "copy").exists()
        assert rows.read(11)[0] == IMAGES[11]


def test_damaged_parquet_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = parquet(tmp_path / "a.parquet")
    rows = Rows([file], "image")
    rows._groups[1] = (0, 1, 4)
    rows._ends = np.array([3, 7, 10, 13])
    assert refusal(rows.read, 3) == f"{file}: damaged: 3 rows in row group 1, not 4"
    assert refusal(Rows, [tmp_path / "none"], "image") == f"{tmp_path / 'none'}: no such file or directory"
    said = f"{file}: damaged, or no Parquet file: "
    assert refusal(Rows([file], "other").read, 0).startswith(said)
    for error, text in ((ValueError("one\ntwo"), "one"), (KeyError(), "KeyError")):

        def fails(_: Any, error: Exception = error) -> Any:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(pq, "ParquetFile", fails)
            assert refusal(Rows, [file], "image") == said + text
    with pytest.raises(DataError, match=r"^as it is$"), opened_parquet(file):
        raise DataError("as it is")
