"""Study directories behind URLs: who works on them, who only reads, and what networks do meanwhile."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

import ressearch
from ressearch import Study, load, remote
from ressearch.errors import StudyError
from ressearch.remote import UnreachableError, patiently
from ressearch.results import ownership
from ressearch.results.storage import Mirror, localise
from ressearch.results.store import Store
from ressearch.training import checkpoint


class NetworkError(Exception):
    """As botocore's: no OSError."""


class Weather:
    """Whether the network of `flaky://` works.

    Attributes:
        fails: asked for each call, with the number of calls before it.
        calls: how many there were.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.fails: Callable[[int], bool] = lambda call: False

    def blow(self) -> None:
        self.calls += 1
        if self.fails(self.calls - 1):
            raise NetworkError("could not connect to the endpoint URL\nsecond line")


WEATHER = Weather()


class FlakyFileSystem(MemoryFileSystem):
    """A file system in memory behind a network whose errors are no OSErrors."""

    protocol = "flaky"
    store: dict[str, Any] = {}  # noqa: RUF012 (as fsspec has it)
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.removeprefix("flaky://"))


def _windy(name: str) -> Callable[..., Any]:
    calm = getattr(MemoryFileSystem, name)

    def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
        WEATHER.blow()
        return calm(self, *arguments, **keywords)

    return call


REMOTE_CALLS = ("_open", "pipe_file", "cat_file", "put_file", "get_file", "find", "exists", "makedirs", "rm", "rm_file")
for _name in REMOTE_CALLS:
    setattr(FlakyFileSystem, _name, _windy(_name))
fsspec.register_implementation("flaky", FlakyFileSystem)


@pytest.fixture(autouse=True)
def weather(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Weather]:
    """Short pauses, an empty file system, and a cache of the test's own."""
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(remote, "LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(remote, "PATIENCE", 0.3)
    monkeypatch.setattr(checkpoint, "_PATIENCE", 0.3)
    monkeypatch.setattr(ownership, "SETTLE", 0.05)
    monkeypatch.setenv("RESSEARCH_CACHE", str(tmp_path / "cache"))
    FlakyFileSystem.store.clear()
    WEATHER.calls, WEATHER.fails = 0, lambda call: False
    yield WEATHER
    WEATHER.fails = lambda call: False


def for_a_while(weather: Weather, calls: int) -> None:
    until = weather.calls + calls
    weather.fails = lambda call: call < until


def files(url: str) -> dict[str, bytes]:
    system, path = fsspec.core.url_to_fs(url)
    return {name.removeprefix(path): system.cat_file(name) for name in system.find(path)}


def test_a_call_is_repeated_until_the_network_is_back(weather: Weather) -> None:
    for_a_while(weather, 4)
    remote.write("flaky://bucket/file", b"content")
    for_a_while(weather, 4)
    assert remote.read("flaky://bucket/file") == b"content"
    for_a_while(weather, 4)
    assert remote.take("flaky://bucket/file")
    assert not remote.take("flaky://bucket/file")


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), PermissionError("no"), ValueError("bad")])
def test_what_repeating_does_not_mend_is_passed_on_at_once(error: Exception) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        patiently(call)
    assert len(calls) == 1


@pytest.mark.parametrize("error", [NetworkError("lost"), ConnectionResetError("reset"), TimeoutError("late")])
def test_a_call_that_never_works_ends_in_an_os_error_whatever_its_library_raises(error: Exception) -> None:
    def call() -> None:
        raise error

    with pytest.raises(UnreachableError) as caught:
        patiently(call)
    assert caught.value.strerror == str(error)


def test_a_checkpoint_survives_a_network_that_fails_for_a_while(weather: Weather) -> None:
    url, device = "flaky://bucket/run/checkpoints/trial-0.pt", torch.device("cpu")
    assert checkpoint.load(url, device) is None
    for_a_while(weather, 4)
    checkpoint.save(url, {"epoch": 3})
    for_a_while(weather, 4)
    assert checkpoint.load(url, device) == {"epoch": 3}
    weather.fails = lambda call: True
    with pytest.raises(OSError, match="could not connect"):  # costs the checkpoint, not the trial
        checkpoint.save(url, {"epoch": 4})
    with pytest.raises(StudyError, match=r"trial-0\.pt: .*could not connect"):
        checkpoint.load(url, device)
    assert not checkpoint.take("flaky://bucket/run/checkpoints/trial-0.hung")
    weather.fails = lambda call: False
    assert checkpoint.load(url, device) == {"epoch": 3}


def test_a_checkpoint_of_a_file_url_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/checkpoints/trial-0.pt"
    checkpoint.save(url, {"epoch": 1})

    def cut_short(state: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(OSError, match="full"):
        checkpoint.save(url, {"epoch": 2})
    assert checkpoint.load(url, torch.device("cpu")) == {"epoch": 1}


def study_at(url: str) -> Mirror:
    """A study directory at a URL as a run leaves it: one trial, one epoch."""
    mirror = Mirror(url)
    mirror.local.mkdir(parents=True)
    run = {"name": "run", "planned_trials": 1, "input_shape": [3, 8, 8], "num_classes": 2}
    (mirror.local / "run.json").write_text(json.dumps({**run, "ended_at": None, "host": "elsewhere", "pid": 1}))
    store = Store(mirror.local, mirror)
    network = ressearch.Architecture()
    price = ressearch.cost(network, (3, 8, 8), 2)
    store.start(0, network, price, "{}", [0], 0.1, devices=1.0, examples=10)
    store.close()
    mirror.finish()
    return mirror


def test_readers_leave_the_copy_of_the_process_that_runs_the_study_alone() -> None:
    url = "flaky://bucket/run"
    mirror = study_at(url)
    with mirror.owned():
        before = {file.name: file.read_bytes() for file in mirror.local.iterdir()}
        results = load(url)
        assert len(results.trials) == 1
        assert not results.directory.is_relative_to(mirror.local)
        (mirror.local / "journal.jsonl").open("a").write("not read yet\n")
        assert localise(url) == results.directory
        assert {file.name for file in mirror.local.iterdir()} == set(before)
        assert (mirror.local / "journal.jsonl").read_bytes() == before["journal.jsonl"] + b"not read yet\n"


def test_a_readers_copy_goes_with_its_process(small_run: Path) -> None:
    import subprocess
    import sys

    code = f"import ressearch; print(ressearch.load('file://{small_run}').directory)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    copy = Path(ran.stdout.strip())
    assert copy.name
    assert not copy.parent.exists()


def test_a_second_process_is_kept_out_of_a_url() -> None:
    url = "flaky://bucket/run"
    study_at(url)
    before = files(url)
    with Mirror(url).owned():
        sign = json.loads(fsspec.open(f"{url}/{ownership.LOCK}").open().read())
        assert (sign["host"], sign["pid"]) == (socket.gethostname(), os.getpid())
        with pytest.raises(StudyError, match="another process works on this study") as caught:
            ressearch.resume(url)
        assert f"process {os.getpid()} on {socket.gethostname()}" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert ownership.LOCK not in Mirror(url).names()
    assert files(url) == before


@pytest.mark.parametrize(
    ("host", "pid", "silent", "is_gone"),
    [
        ("elsewhere", 1, 10.0, False),
        ("elsewhere", 1, 10_000.0, True),
        (None, 2**22 + 1, 1.0, True),  # this machine, no such process
        (None, os.getppid(), 1.0, False),
    ],
)
def test_an_owner_is_replaced_once_it_is_gone(host: str | None, pid: int, silent: float, is_gone: bool) -> None:
    url = "flaky://bucket/run"
    sign = {"host": host or socket.gethostname(), "pid": pid, "token": "theirs", "at": time.time() - silent}
    remote.write(f"{url}/{ownership.LOCK}", json.dumps(sign).encode())
    if is_gone:
        with Mirror(url).owned():
            assert json.loads(remote.read(f"{url}/{ownership.LOCK}"))["token"] != "theirs"
        return
    with pytest.raises(StudyError, match="another process works on this study"), Mirror(url).owned():
        pass
    assert json.loads(remote.read(f"{url}/{ownership.LOCK}")) == sign


def test_of_two_that_write_at_the_same_moment_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that cannot create a file only if there is none."""
    url = "flaky://bucket/run"
    calm = FlakyFileSystem._open

    def no_exclusive(self: Any, path: str, mode: str = "rb", **keywords: Any) -> Any:
        if "x" in mode:
            raise ValueError("unsupported file mode")
        return calm(self, path, mode, **keywords)

    monkeypatch.setattr(FlakyFileSystem, "_open", no_exclusive)
    other = {"host": "elsewhere", "pid": 1, "token": "theirs", "at": time.time()}
    monkeypatch.setattr(
        time, "sleep", lambda seconds: remote.write(f"{url}/{ownership.LOCK}", json.dumps(other).encode())
    )
    with pytest.raises(StudyError, match="process 1 on elsewhere"), Mirror(url).owned():
        pass


def test_an_owner_that_was_replaced_writes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "BEAT", 0.02)
    url = "flaky://bucket/run"
    mirror = study_at(url)
    with pytest.raises(StudyError, match="another process has taken the study over"), mirror.owned():  # noqa: PT012
        other = {"host": "elsewhere", "pid": 1, "token": "theirs", "at": time.time()}
        remote.write(f"{url}/{ownership.LOCK}", json.dumps(other).encode())
        wait_until(lambda: mirror._owner.has_lost)
        before = files(url)
        with pytest.raises(OSError, match="taken the study over"):
            mirror.push(force=True)
        (mirror.local / "journal.jsonl").write_text("ours")
        mirror.finish()
        assert files(url) == before
    assert json.loads(remote.read(f"{url}/{ownership.LOCK}"))["token"] == "theirs"


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never held")


def test_a_record_that_cannot_be_copied_is_copied_later(weather: Weather, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "flaky://bucket/run"
    mirror = study_at(url)
    store = Store(mirror.local, mirror)
    weather.fails = lambda call: True
    for _ in range(3):
        store.end(0, "completed", None)
    assert store.broken is None
    assert mirror.problem == "could not connect to the endpoint URL"
    calls = weather.calls
    store.end(0, "completed", None)  # not due yet: an outage does not slow the study down
    assert weather.calls == calls
    weather.fails = lambda call: False
    monkeypatch.setattr(mirror, "_next", 0.0)
    store.end(0, "completed", None)
    assert mirror.problem is None
    store.close()
    mirror.finish()
    assert files(url)["/journal.jsonl"] == (mirror.local / "journal.jsonl").read_bytes()


def test_a_study_whose_record_never_arrives_says_where_it_is_and_resume_copies_it(weather: Weather) -> None:
    url = "flaky://bucket/run"
    study_at(url)
    mirror = Mirror(url)
    with pytest.raises(StudyError) as caught, mirror.owned():  # noqa: PT012
        store = Store(mirror.pull(), mirror)
        weather.fails = lambda call: True
        store.end(0, "completed", None)
        run = json.loads((mirror.local / "run.json").read_text())
        (mirror.local / "run.json").write_text(json.dumps({**run, "is_complete": True, "ended_at": "now"}))
        store.close()
    assert str(caught.value) == (
        f"{url}: cannot be written (could not connect to the endpoint URL); the whole record is in {mirror.local}, and "
        f"`ressearch resume {url}` on this machine copies it"
    )
    weather.fails = lambda call: False
    remote.take(f"{url}/{ownership.LOCK}")  # its process is gone: here it is this one
    assert load(url).trials["status"].tolist() == ["running"]
    with pytest.raises(StudyError, match="nothing was overwritten"):
        Mirror(url).require_empty()
    again = Mirror(url)
    with again.owned():
        again.pull()
    assert load(url).trials["status"].tolist() == ["completed"]
    assert not again.local.exists()


def test_a_copy_that_another_machine_overtook_is_put_aside_not_lost() -> None:
    url = "flaky://bucket/run"
    mirror = study_at(url)
    ours = (mirror.local / "journal.jsonl").read_bytes() + b'{"event": "session"}\n'
    (mirror.local / "journal.jsonl").write_bytes(ours)
    theirs = remote.read(f"{url}/journal.jsonl") + b'{"event": "session", "at": 1}\n'
    remote.write(f"{url}/journal.jsonl", theirs)
    local = Mirror(url).pull()
    assert (local / "journal.jsonl").read_bytes() == theirs
    (aside,) = local.parent.glob(f"{local.name}-*")
    assert (aside / "journal.jsonl").read_bytes() == ours


@pytest.mark.parametrize("command", [load, ressearch.resume, lambda url: ressearch.run(Study.from_dict(GRID), url)])
def test_a_url_out_of_reach_is_said_in_one_line(command: Callable[[str], Any], weather: Weather) -> None:
    weather.fails = lambda call: True
    with pytest.raises(StudyError, match="flaky://bucket/run: cannot be read: could not connect") as caught:
        command("flaky://bucket/run")
    assert "\n" not in str(caught.value)


GRID = {
    "space": {"grid": {"depth": [8, 14], "width": 4}},
    "data": {"name": "synthetic"},
    "recipe": {"epochs": 2},
}
