"""Who owns a study directory at a URL, without a network and without waiting."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from clocks import Clock

from ressearch import remote
from ressearch.errors import StudyError
from ressearch.results import ownership
from ressearch.results.ownership import Owner


class Objects:
    """A file system of objects in a dictionary; whether it can create one only if there is none is said."""

    def __init__(self, is_exclusive: bool = True) -> None:
        self.held: dict[str, bytes] = {}
        self.made: list[tuple[str, bool]] = []
        self.is_exclusive, self.fails = is_exclusive, False

    def makedirs(self, path: str, exist_ok: bool) -> None:
        self.made.append((path, exist_ok))

    def invalidate_cache(self) -> None:
        pass

    def cat_file(self, path: str) -> bytes:
        if self.fails:
            raise PermissionError(13, "Permission denied")
        if path not in self.held:
            raise FileNotFoundError(path)
        return self.held[path]

    def rm_file(self, path: str) -> None:
        del self.held[path]

    def open(self, path: str, mode: str) -> Any:
        if mode == "xb" and not self.is_exclusive:
            raise NotImplementedError(mode)
        if mode == "xb" and path in self.held:
            raise FileExistsError(path)
        assert mode in ("xb", "wb")
        objects = self

        class File:
            def __enter__(self) -> File:
                return self

            def write(self, data: bytes) -> None:
                objects.held[path] = data

            def __exit__(self, *_: object) -> None:
                pass

        return File()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for owners, and no patience."""
    clock = Clock()
    monkeypatch.setattr(ownership, "time", clock)
    monkeypatch.setattr(remote, "PATIENCE", 0.0)
    return clock


def owner(objects: Objects) -> Owner:
    return Owner(objects, "bucket/study", "s3://bucket/study")


LOCK = "bucket/study/.lock"


def sign(**values: Any) -> bytes:
    known = {"host": "elsewhere", "pid": 7, "token": "theirs", "at": 990.0}
    return json.dumps({key: value for key, value in {**known, **values}.items() if value is not None}).encode()


def test_an_owner_leaves_its_sign_while_it_works(clock: Clock) -> None:
    objects = Objects()
    with owner(objects).working() as working:
        found = json.loads(objects.held[LOCK])
        assert (found["host"], found["pid"], found["at"]) == (socket.gethostname(), os.getpid(), 1000.0)
        assert re.fullmatch("[0-9a-f]{16}", found["token"])
        assert not working.has_lost
        assert list(objects.held) == [LOCK]
    assert objects.held == {}
    assert objects.made == [("bucket/study", True)]
    assert clock.slept == []  # who creates the object owns the study at once


def test_where_nothing_can_be_created_exclusively_the_last_to_write_owns(clock: Clock) -> None:
    objects = Objects(is_exclusive=False)
    with owner(objects).working():
        assert clock.slept == [2.0]
        assert json.loads(objects.held[LOCK])["pid"] == os.getpid()
    clock.while_asleep = lambda: objects.held.update({LOCK: sign(at=clock.now)})
    with pytest.raises(StudyError) as caught, owner(objects).working():
        pass
    assert str(caught.value) == (
        "s3://bucket/study: another process works on this study (process 7 on elsewhere, last sign of life 0 s ago); "
        "end it, or wait until it has been silent for 180 s"
    )
    assert json.loads(objects.held[LOCK])["token"] == "theirs"
    objects.held.clear()
    clock.while_asleep = objects.held.clear
    with pytest.raises(StudyError, match=r"\(process \? on an unknown machine, last sign of life 0 s ago\)"):
        owner(objects)._take()


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (sign(), "(process 7 on elsewhere, last sign of life 10 s ago)"),
        (sign(at=820.0), "(process 7 on elsewhere, last sign of life 180 s ago)"),
        (sign(at=2000.0), "(process 7 on elsewhere, last sign of life 0 s ago)"),
        (sign(pid=None), "(process ? on elsewhere, last sign of life 10 s ago)"),
        (sign(host=None), "(process 7 on an unknown machine, last sign of life 10 s ago)"),
        (
            sign(host=socket.gethostname(), pid="x"),
            f"(process x on {socket.gethostname()}, last sign of life 10 s ago)",
        ),
        (sign(host=socket.gethostname(), pid=1), f"(process 1 on {socket.gethostname()}, last sign of life 10 s ago)"),
        (sign(at=819.0), None),  # silent for more than three minutes
        (sign(at=None), None),
        (sign(host=socket.gethostname(), pid=os.getpid()), None),  # had our number before us
        (b"cut", None),
        (b"[3]", None),
    ],
    ids=map(str, range(12)),
)
def test_an_owner_is_kept_out_unless_the_other_is_gone(held: bytes, message: str | None, clock: Clock) -> None:
    objects = Objects()
    objects.held[LOCK] = held
    if message is None:
        with owner(objects).working():
            assert clock.slept == [2.0]  # another may take it over at the same moment
            assert json.loads(objects.held[LOCK])["pid"] == os.getpid()
        return
    with pytest.raises(StudyError) as caught, owner(objects).working():
        pass
    assert message in str(caught.value)
    assert objects.held[LOCK] == held


def test_a_process_of_this_machine_that_has_ended_is_replaced_at_once() -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    objects = Objects()
    objects.held[LOCK] = sign(host=socket.gethostname(), pid=ended.pid)
    with owner(objects).working():
        assert json.loads(objects.held[LOCK])["pid"] == os.getpid()


def test_one_process_does_not_own_a_study_twice() -> None:
    objects = Objects()
    with owner(objects).working(), pytest.raises(StudyError, match=f"process {os.getpid()} on "):
        owner(objects)._take()
    owner(objects)._take()


def test_an_owner_removes_no_other_owners_sign() -> None:
    objects = Objects()
    with owner(objects).working():
        objects.held[LOCK] = sign()
    assert objects.held == {LOCK: sign()}


def test_a_file_system_out_of_reach_is_said_in_one_line() -> None:
    objects = Objects()
    objects.fails = True
    with pytest.raises(StudyError) as caught, owner(objects).working():
        pass
    assert str(caught.value) == "s3://bucket/study: cannot be reached: Permission denied"


def test_signs_of_life_go_on_until_another_takes_over(clock: Clock) -> None:
    objects, waits = Objects(), []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        clock.now += seconds
        if len(waits) == 3:
            objects.fails = True
        if len(waits) == 4:
            objects.fails = False
            assert json.loads(objects.held[LOCK])["at"] == 1040.0
        if len(waits) == 5:
            assert json.loads(objects.held[LOCK])["at"] == 1080.0
            objects.held[LOCK] = sign()
        return False

    working = owner(objects)
    working._take()
    working._has_ended = SimpleNamespace(wait=wait)  # type: ignore[assignment]
    working._beat()
    assert (waits, working.has_lost, objects.held[LOCK]) == ([20.0] * 5, True, sign())
    working = owner(Objects())
    working._has_ended.set()
    working._beat()
    assert not working.has_lost
