"""Arrays in files that processes map: when they are, what is left afterwards, how another file is told apart."""

from __future__ import annotations

import gc
import os
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import numpy as np
import pytest
import torch

from ressearch.data import spool as room
from ressearch.data.spool import Place, Sheet, hold, new_file, stamp
from ressearch.errors import DataError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory, and a process that has no directory there yet."""
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / "deep" / "cache"))
    monkeypatch.setattr(room, "_mine", None)
    return tmp_path / "deep" / "cache" / "spool"


def test_a_place_is_where_an_array_lies_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(6, dtype=">i2").reshape(3, 2)
    file = tmp_path / "f"
    file.write_bytes(b"head" + values.astype("<i2").tobytes() + b"tail")
    monkeypatch.chdir(tmp_path)
    place = Place.of(Path("f"), 4, np.dtype("<i2"), [3, 2])
    assert place == Place(str(file), 4, "<i2", (3, 2), (20, file.stat().st_mtime_ns))
    assert stamp(file) == place.stamp
    monkeypatch.chdir("/")
    opened = place.open()
    assert opened.tolist() == [[0, 1], [2, 3], [4, 5]]
    opened[0, 0] = 9  # on a copy
    assert place.open()[0, 0] == 0
    os.utime(file, ns=(5, 5))
    for change in (place, Place(str(file), 4, "<i2", (3, 2), (19, 5))):
        with pytest.raises(DataError) as refused:
            change.open()
        assert str(refused.value) == f"{file}: has changed since it was first read"
    with pytest.raises(DataError) as refused:
        Place(str(tmp_path / "none"), 4, "<i2", (3, 2), (20, 5)).open()
    assert str(refused.value) == f"{tmp_path / 'none'}: No such file or directory"
    with pytest.raises(DataError) as refused:
        Place(str(file), 4, "<i2", (9, 2), (20, 5)).open()
    assert str(refused.value) == f"{file}: mmap length is greater than file size"


@pytest.mark.parametrize(("over", "is_mapped"), [(0, True), (1, False)])
def test_a_sheet_of_a_bound_on_is_a_file(
    over: int, is_mapped: bool, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "HELD", 5 * 3 * 4 + over)
    asked: list[int] = []
    real = room.new_file
    monkeypatch.setattr(room, "new_file", lambda size: asked.append(size) or real(size))  # type: ignore[func-returns-value]
    values = np.arange(15.0).reshape(5, 3)
    sheet = Sheet([5, 3], np.float32)
    assert (sheet.shape, sheet.dtype) == ((5, 3), np.dtype(np.float32))
    for block in (values[:2], np.asfortranarray(values[2:4]), values[4:]):
        sheet.append(block)
    tensor, place = sheet.done()
    assert tensor.dtype == torch.float32
    assert np.array_equal(tensor.numpy(), values)
    assert asked == ([60] if is_mapped else [])
    assert (place is not None) == is_mapped
    if place is not None:
        file = Path(place.path)
        assert (place.offset, place.dtype, place.shape) == (0, "<f4", (5, 3))
        assert file.read_bytes() == values.astype("<f4").tobytes()
        view = tensor[1:]
        del tensor
        gc.collect()
        assert file.exists()  # somebody reads it still
        del view
        gc.collect()
        assert not file.exists()


def test_a_sheet_stays_in_memory_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "HELD", 1)
    monkeypatch.setattr(room, "new_file", lambda size: None)
    sheet = Sheet((2,), np.uint8)
    sheet.append(np.array([1, 2]))
    tensor, place = sheet.done()
    assert (tensor.tolist(), place) == ([1, 2], None)
    with pytest.raises(AssertionError):
        Sheet((2,), np.uint8).done()


def test_large_arrays_in_memory_are_moved_block_by_block(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = torch.zeros(10, 3)
    monkeypatch.setattr(room, "HELD", 120)
    for kept in (small[:9], torch.zeros(3, 10).T, torch.zeros(10, 3, device="meta")):
        found, place = hold(kept)
        assert found is kept
        assert place is None
    values = torch.arange(30.0).view(10, 3)
    found, place = hold(values)
    assert place is not None
    assert (place.dtype, place.shape) == ("<f4", (10, 3))
    assert torch.equal(found, values)
    sizes: list[tuple[int, ...]] = []
    append = Sheet.append
    monkeypatch.setattr(Sheet, "append", lambda self, block: sizes.append(block.shape) or append(self, block))  # type: ignore[func-returns-value]
    hold(torch.zeros(5, 2**20, dtype=torch.uint8))
    hold(torch.zeros(2, 2**22, dtype=torch.uint8))
    assert sizes == [(2, 2**20), (2, 2**20), (1, 2**20), (1, 2**22), (1, 2**22)]  # 2 MiB, or one example


def test_a_file_finds_room_beside_a_quarter_of_a_gigabyte_that_is_left_free(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> Any:
        asked.append(path)
        return SimpleNamespace(free=2**28 + 100)

    monkeypatch.setattr(room.shutil, "disk_usage", usage)
    one, other = new_file(100), new_file(0)
    assert one is not None
    assert other is not None
    assert one != other
    assert one.parent == other.parent == asked[0]
    assert one.parent.parent == cache
    assert new_file(101) is None

    def fails(path: Path) -> Any:
        raise OSError("gone")

    monkeypatch.setattr(room.shutil, "disk_usage", fails)
    assert new_file(0) is None


def test_a_process_has_one_directory_that_its_lock_says_is_in_use(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = socket.gethostname()
    for name in (f"{host}-1-dead", f"{host}-2-busy", "elsewhere-3-dead"):
        (cache / name / "deep").mkdir(parents=True)
        (cache / name / "deep" / "left").write_bytes(b"left")
    with filelock.FileLock(cache / f"{host}-2-busy" / "lock"):
        mine = room._directory()
    assert sorted(one.name for one in cache.iterdir()) == sorted([mine.name, f"{host}-2-busy", "elsewhere-3-dead"])
    assert mine.name.startswith(f"{host}-{os.getpid()}-")
    assert len(mine.name) == len(f"{host}-{os.getpid()}-") + 8
    assert room._directory() == mine
    assert room._mine is not None
    assert room._mine[:2] == (os.getpid(), mine)
    assert [one.name for one in mine.iterdir()] == ["lock"]
    # its lock is held: another process leaves it. flock is of the open file, so that a second one here cannot have it
    with pytest.raises(filelock.Timeout):
        filelock.FileLock(mine / "lock").acquire(timeout=0)
    lock = room._mine[2]
    shutil.rmtree(mine)
    second = room._directory()  # somebody removed it
    assert second != mine
    assert second.is_dir()
    monkeypatch.setattr(room, "_mine", (os.getpid() + 1, second, lock))  # after a fork
    third = room._directory()
    assert third not in (mine, second)


def test_what_cannot_be_removed_of_a_process_that_ended_is_left(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = cache / f"{socket.gethostname()}-1-dead"
    dead.mkdir(parents=True)
    asked: list[tuple[Path, bool]] = []
    monkeypatch.setattr(room.shutil, "rmtree", lambda path, ignore_errors=False: asked.append((path, ignore_errors)))
    mine = room._directory()
    room._end()
    assert asked == [(dead, True), (mine, True)]
    with filelock.FileLock(dead / "lock", timeout=0):
        assert mine.is_dir()


def test_only_the_process_that_made_a_file_removes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x")
    room._unlink(file, os.getpid() + 1)
    assert file.exists()
    room._unlink(file, os.getpid())
    assert not file.exists()
    room._unlink(file, os.getpid())  # gone already
    for owner in (os.getpid() + 1, os.getpid()):
        (tmp_path / "mine").mkdir(exist_ok=True)
        monkeypatch.setattr(room, "_mine", (owner, tmp_path / "mine", None))
        room._end()
        assert (tmp_path / "mine").exists() == (owner != os.getpid())
