"""Checkpoint files: written whole, forced to the disk as often as that is cheap, and read with the problem named."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from ressearch import durable, remote
from ressearch.errors import StudyError
from ressearch.training import checkpoint

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_former_trial() -> Iterator[None]:
    checkpoint._synced_until.clear()
    yield
    checkpoint._synced_until.clear()


def state(epochs: int, note: str = "") -> dict[str, Any]:
    return {"history": [{"epoch": one} for one in range(epochs)], "note": note, "weight": torch.arange(3.0)}


def write(path: Path, content: Any) -> str:
    torch.save(content, path)
    return str(path)


class Disk:
    """A clock that only writing moves; knows what was forced to the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.takes = 1000.0, 2.0
        self.synced: list[tuple[str, bool]] = []
        replace = durable.replace

        def watched(target: Path, write: Any, is_synced: bool = True) -> None:
            self.synced.append((target.name, is_synced))
            replace(target, write, is_synced)
            self.now += self.takes

        monkeypatch.setattr(durable, "replace", watched)
        monkeypatch.setattr(checkpoint.time, "monotonic", lambda: self.now)


def test_what_is_saved_is_loaded_from_a_directory_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "0.pt"
    assert checkpoint.load(str(path), CPU) is None
    checkpoint.save(str(path), state(2))
    found = checkpoint.load(str(path), CPU)
    assert found is not None
    assert torch.equal(found.pop("weight"), torch.arange(3.0))
    assert found == {"history": [{"epoch": 0}, {"epoch": 1}], "note": ""}
    assert [one.name for one in path.parent.iterdir()] == ["0.pt"]
    elsewhere = checkpoint.load(str(path), torch.device("meta"))
    assert elsewhere is not None
    assert elsewhere["weight"].device.type == "meta"
    checkpoint.save(str(path), state(3))  # where there is a directory and a former one
    assert checkpoint._epochs(checkpoint.load(str(path), CPU) or {}) == 3


def test_syncing_takes_at_most_a_fiftieth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, path = Disk(monkeypatch), str(tmp_path / "0.pt")
    checkpoint.save(path, state(1))  # from 1000 to 1002: until 1002 + 50 x 2
    disk.takes = 0.0
    for now, epochs in ((1002.0, 2), (1101.9, 3), (1102.0, 4), (1102.0, 5), (1103.0, 6)):
        disk.now = now
        checkpoint.save(path, state(epochs))
        assert [one.name for one in sorted(tmp_path.iterdir())] == (
            ["0.pt", "0.pt.unsynced"] if epochs < 4 else ["0.pt"]
        )
        assert checkpoint._epochs(checkpoint.load(path, CPU) or {}) == epochs
    assert disk.synced == [
        ("0.pt", True),
        ("0.pt.unsynced", False),
        ("0.pt.unsynced", False),
        ("0.pt", True),
        ("0.pt", True),  # the last one took no time
        ("0.pt", True),
    ]


def test_the_first_epoch_and_another_trial_are_always_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, one, other = Disk(monkeypatch), str(tmp_path / "1.pt"), str(tmp_path / "2.pt")
    for path, epochs in ((one, 5), (one, 1), (one, 0), (other, 7), (one, 8), (one, 9)):
        checkpoint.save(path, state(epochs))
    assert [(name[0], is_synced) for name, is_synced in disk.synced] == [
        ("1", True),
        ("1", True),
        ("1", True),
        ("2", True),
        ("1", True),  # a process trains one trial at a time: the former is forgotten
        ("1", False),
    ]
    assert list(checkpoint._synced_until) == [one]


def test_a_synced_checkpoint_leaves_none_beside_it_and_a_refused_one_leaves_the_former(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0.pt"
    write(tmp_path / "0.pt.unsynced", state(9, "of another life"))
    checkpoint.save(str(path), state(1))
    assert [one.name for one in tmp_path.iterdir()] == ["0.pt"]

    def full(*arguments: Any, **keywords: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "replace", full)
    checkpoint._synced_until.clear()
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(str(path), state(2))
    assert checkpoint._synced_until == {}
    assert checkpoint._epochs(checkpoint.load(str(path), CPU) or {}) == 1


@pytest.mark.parametrize(("synced", "unsynced", "newest"), [(3, 5, "unsynced"), (5, 3, "synced"), (4, None, "synced")])
def test_the_checkpoint_with_more_epochs_is_the_newest(
    synced: int, unsynced: int | None, newest: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "0.pt", state(synced, "synced"))
    if unsynced is not None:
        write(tmp_path / "0.pt.unsynced", state(unsynced, "unsynced"))
    found = checkpoint.load(path, CPU)
    assert found is not None
    assert found["note"] == newest


def test_of_a_damaged_and_a_whole_checkpoint_the_whole_one_is_taken(tmp_path: Path) -> None:
    for damaged, whole in (("0.pt", "0.pt.unsynced"), ("0.pt.unsynced", "0.pt")):
        (tmp_path / damaged).write_bytes(b"PK half of one")
        write(tmp_path / whole, state(2, whole))
        found = checkpoint.load(str(tmp_path / "0.pt"), CPU)
        assert found is not None
        assert found["note"] == whole
    (tmp_path / "0.pt").unlink()
    (tmp_path / "0.pt.unsynced").write_bytes(b"")
    with pytest.raises(StudyError, match=r"0\.pt\.unsynced: damaged checkpoint: "):
        checkpoint.load(str(tmp_path / "0.pt"), CPU)


def test_epochs_are_counted_by_the_history() -> None:
    counts = [({}, 0), ({"history": []}, 0), ({"history": [1, 2]}, 2), ({"history": "abc"}, 0), ({"history": None}, 0)]
    assert [checkpoint._epochs(one) for one, _ in counts] == [count for _, count in counts]


class Strange:
    """What no checkpoint of ours holds."""


def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "0.pt"

    def problem() -> str:
        with pytest.raises(StudyError) as refused:
            checkpoint.load(str(path), CPU)
        return str(refused.value)

    write(path, [1, 2])
    assert problem() == f"{path}: damaged checkpoint: expected a mapping"
    write(path, {"history": [], "code": Strange()})  # runs code of the file
    assert problem().startswith(f"{path}: damaged checkpoint: Weights only load failed")
    path.write_bytes(pickle.dumps({"history": []}, protocol=2)[:-3])
    assert problem().startswith(f"{path}: damaged checkpoint: ")
    assert "\n" not in problem()
    write(path, state(1))

    def fails(error: Exception) -> None:
        def load(*arguments: Any, **keywords: Any) -> None:
            raise error

        monkeypatch.setattr(torch, "load", load)

    for error, said in (
        (EOFError(), "EOFError"),
        (ValueError("  one\ntwo"), "one"),
        (RuntimeError("x" * 500), "x" * 200),
    ):
        fails(error)
        assert problem() == f"{path}: damaged checkpoint: {said}"
    path.unlink()
    path.mkdir()
    assert problem() == f"{path}: damaged checkpoint: [Errno 21] Is a directory: '{path}'"


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_too_little_memory_is_no_damage(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "0.pt", state(1))

    def load(*arguments: Any, **keywords: Any) -> None:
        raise error

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(type(error)):
        checkpoint.load(path, CPU)


def test_a_checkpoint_elsewhere_is_one_file_written_with_ten_seconds_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, waits = "memory://checkpoints-here/deep/0.pt", []
    put = remote.write

    def write(url: str, content: bytes, seconds: float | None = None) -> None:
        waits.append(seconds)
        put(url, content, seconds)

    monkeypatch.setattr(remote, "write", write)
    assert checkpoint.load(url, CPU) is None
    for epochs in (1, 2, 3):
        checkpoint.save(url, state(epochs))
    found = checkpoint.load(url, torch.device("meta"))
    assert found is not None
    assert (len(found["history"]), found["weight"].device.type) == (3, "meta")
    memory = fsspec.filesystem("memory")
    assert [one.rpartition("/")[2] for one in memory.find("checkpoints-here")] == ["0.pt"]
    content = torch.load(io.BytesIO(memory.cat_file("checkpoints-here/deep/0.pt")), weights_only=True)
    assert len(content["history"]) == 3
    memory.pipe_file("checkpoints-here/deep/0.pt", b"half")
    with pytest.raises(StudyError, match=f"^{url}: damaged checkpoint: "):
        checkpoint.load(url, CPU)
    mark = "memory://checkpoints-here/0.hung"
    assert not checkpoint.take(mark)
    checkpoint.mark(mark)
    assert memory.cat_file("checkpoints-here/0.hung") == b""
    assert [checkpoint.take(mark) for _ in range(2)] == [True, False]
    assert waits == [10.0] * 4


def test_an_address_of_this_machine_is_a_path_of_it(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/below/0.pt"
    checkpoint.save(url, state(1))
    checkpoint.save(url, state(2))
    assert (tmp_path / "below" / "0.pt").exists()
    found = checkpoint.load(url, CPU)
    assert found is not None
    assert len(found["history"]) == 2


def test_removing_takes_both_files_and_none_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "0.pt"
    for names in (["0.pt"], ["0.pt.unsynced"], ["0.pt", "0.pt.unsynced"], []):
        for name in names:
            (tmp_path / name).write_bytes(b"")
        (tmp_path / "1.pt").write_bytes(b"")
        checkpoint.remove(str(path))
        assert [one.name for one in tmp_path.iterdir()] == ["1.pt"]


def test_a_mark_is_an_empty_file_that_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    waits, put = [], remote.write

    def write(url: str, content: bytes, seconds: float | None = None) -> None:
        waits.append(seconds)
        put(url, content, seconds)

    monkeypatch.setattr(remote, "write", write)
    for mark in (str(tmp_path / "0.hung"), "1.hung"):
        checkpoint.mark(mark)
        assert (tmp_path / mark).read_bytes() == b""
        assert [checkpoint.take(mark) for _ in range(2)] == [True, False]
    assert waits == [10.0, 10.0]

    def unreachable(url: str) -> bool:
        raise remote.UnreachableError(None, "no route")

    monkeypatch.setattr(remote, "take", unreachable)
    assert checkpoint.take("memory://checkpoints-here/0.hung") is False
