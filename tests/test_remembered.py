"""What a machine measured: remembered in a file of its own per question, and by no other machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest
import torch

from ressearch import remembered as room
from ressearch.remembered import recall, remembered
from ressearch.training import memory

QUESTION = {"shape": "s", "threads": 2}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "not" / "yet"
    monkeypatch.setenv("RESSEARCH_CACHE", str(directory))
    monkeypatch.setattr(room, "cpu_model", lambda: "a cpu")
    return directory


class Measure:
    """Gives these answers in turn."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def __call__(self) -> Any:
        return self.answers.pop(0)


def never() -> Any:
    raise AssertionError("measured again")


def test_an_answer_is_measured_once(cache: Path) -> None:
    assert recall(QUESTION) is None
    assert not cache.exists()  # recalling leaves nothing
    assert remembered(QUESTION, lambda: [True, False]) == [True, False]
    assert remembered(QUESTION, never) == recall(QUESTION) == [True, False]
    assert remembered({"threads": 2, "shape": "s"}, never) == [True, False]  # in any order
    assert remembered({**QUESTION, "threads": 3}, lambda: 7) == 7
    assert recall(QUESTION) == [True, False]


def test_no_answer_is_not_remembered(cache: Path) -> None:
    measure = Measure(None, 0)
    assert remembered(QUESTION, measure) is None
    assert list(cache.glob("*.json")) == []
    assert remembered(QUESTION, measure) == 0
    assert remembered(QUESTION, never) == 0  # nought is an answer


def test_a_file_says_question_and_answer_and_is_named_by_question_and_machine(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(torch, "__version__", "9.9")
    remembered(QUESTION, lambda: "é")
    key = '{"cores": 12, "cpu": "a cpu", "shape": "s", "threads": 2, "torch": "9.9"}'
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    assert [one.name for one in cache.iterdir() if one.suffix != ".lock"] == [f"{name}.json"]
    text = (cache / f"{name}.json").read_text(encoding="utf-8")
    assert text == '{"question": {"shape": "s", "threads": 2}, "answer": "\\u00e9"}'


@pytest.mark.parametrize("other", ["cpu", "cores", "torch"])
def test_another_machine_measures_for_itself(other: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remembered(QUESTION, lambda: 1) == 1
    with monkeypatch.context() as patch:
        if other == "cpu":
            patch.setattr(room, "cpu_model", lambda: "another cpu")
        elif other == "cores":
            patch.setattr(os, "cpu_count", lambda: 4096)
        else:
            patch.setattr(torch, "__version__", "0.1")
        assert recall(QUESTION) is None
        assert remembered(QUESTION, lambda: 2) == 2
    assert remembered(QUESTION, never) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}", b'"answer"', b"\xff\xfe", b'{"answer": null}', b"3"])
def test_a_file_that_says_nothing_is_measured_and_written_again(content: bytes, cache: Path) -> None:
    remembered(QUESTION, lambda: 1)
    (file,) = cache.glob("*.json")
    file.write_bytes(content)
    assert recall(QUESTION) is None
    assert remembered(QUESTION, lambda: 2) == 2
    assert remembered(QUESTION, never) == 2
    assert json.loads(file.read_text()) == {"question": QUESTION, "answer": 2}


def test_answers_are_read_as_utf_8(cache: Path) -> None:
    remembered(QUESTION, lambda: 1)
    (file,) = cache.glob("*.json")
    file.write_bytes('{"answer": "é"}'.encode())
    assert recall(QUESTION) == "é"


def test_where_nothing_can_be_written_nothing_is_remembered(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / "file" / "below"))
    assert [remembered(QUESTION, lambda answer=answer: answer) for answer in (1, 2)] == [1, 2]
    monkeypatch.setenv("RESSEARCH_CACHE", str(cache))
    write = Path.write_text

    def full(self: Path, *arguments: Any, **keywords: Any) -> int:
        write(self, "half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert [remembered(QUESTION, lambda answer=answer: answer) for answer in (1, 2)] == [1, 2]
    assert list(cache.glob("*.json")) == []


def test_one_process_measures_at_a_time_and_the_next_takes_its_answer(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered(QUESTION, lambda: 5)
    (file,) = cache.glob("*.json")
    content = file.read_bytes()
    file.unlink()
    held: list[Any] = []

    @contextlib.contextmanager
    def waiting(path: Path, timeout: float) -> Iterator[None]:
        file.write_bytes(content)  # another process has measured meanwhile
        held.append((path, timeout))
        yield
        held.append("free")

    monkeypatch.setattr(filelock, "FileLock", waiting)
    assert remembered(QUESTION, never) == 5
    assert held == [(file.with_suffix(".lock"), 60.0), "free"]
    file.unlink()
    held.clear()

    @contextlib.contextmanager
    def alone(path: Path, timeout: float) -> Iterator[None]:
        held.append("held")
        yield
        held.append(file.exists())

    monkeypatch.setattr(filelock, "FileLock", alone)
    assert remembered(QUESTION, lambda: held.append("measured") or 6) == 6
    assert held == ["held", "measured", True]  # the answer is there before the next may look


def test_a_process_that_holds_on_too_long_is_not_waited_for(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(path: Path, timeout: float) -> Any:
        raise filelock.Timeout(str(path))

    monkeypatch.setattr(filelock, "FileLock", taken)
    assert remembered(QUESTION, lambda: 8) == 8
    assert recall(QUESTION) == 8


def test_a_directory_that_is_there_is_used(cache: Path) -> None:
    cache.mkdir(parents=True)
    assert remembered(QUESTION, lambda: 9) == 9
    assert sorted(one.suffix for one in cache.iterdir()) in ([".json"], [".json", ".lock"])
    assert recall(QUESTION) == 9


def test_a_processor_is_named_as_linux_names_it_else_as_python_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def says(text: str | None) -> None:
        def read_text(self: Path, encoding: str | None = None, errors: str | None = None) -> str:
            asked.append(str(self))
            if text is None:
                raise FileNotFoundError(str(self))
            return text

        monkeypatch.setattr(Path, "read_text", read_text)

    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "riscv")
    model = room.cpu_model.__wrapped__
    says("processor : 0\nmodel : 85\nmodel name\t: Xeon(R): 8 @ 2.0 \nmodel name\t: other\n")
    assert model() == "Xeon(R): 8 @ 2.0"
    for text in (None, "processor : 0\n"):
        says(text)
        assert model() == "riscv"
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert model() == "arm"
    assert set(asked) == {"/proc/cpuinfo"}


class Library:
    """A C library with `mallopt`, or without."""

    def __init__(self, *answers: int) -> None:
        self.calls: list[tuple[int, int]] = []
        if answers:
            left = list(answers)
            self.mallopt = lambda *arguments: self.calls.append(arguments) or left.pop(0)  # type: ignore[func-returns-value]


def test_glibc_is_told_once_to_keep_blocks_of_up_to_a_gibibyte(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def keep(library: Any, where: str = "linux") -> bool:
        def cdll(name: Any) -> Any:
            opened.append(name)
            if isinstance(library, Exception):
                raise library
            return library

        monkeypatch.setattr(memory.ctypes, "CDLL", cdll)
        monkeypatch.setattr(sys, "platform", where)
        return memory.keep_freed_memory.__wrapped__()

    glibc = Library(1, 1)
    assert keep(glibc)
    # malloc.h: M_TRIM_THRESHOLD is -1 and M_MMAP_THRESHOLD is -3; both are ints of 32 bits.
    assert glibc.calls == [(-3, 1073741824), (-1, 2147483647)]
    assert opened == [None]
    assert [keep(Library(*answers)) for answers in ((0, 1), (1, 0), (0, 0))] == [False] * 3
    assert not keep(Library())  # musl
    assert not keep(OSError("no such library"))
    opened.clear()
    assert [keep(Library(1, 1), where) for where in ("darwin", "win32", "linux2")] == [False, False, True]
    assert len(opened) == 1
