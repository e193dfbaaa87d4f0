"""What is green here is green anywhere: the tests see none of the machine's data, caches, settings or network."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import hermetic
import profiles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ressearch.cache import cache_directory
from ressearch.data import files

ROOT = Path(__file__).parents[1]
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"
ENTER = f"import hermetic; home, before = hermetic.enter(); {SHOW}; hermetic.leave(home)"


def test_tests_and_their_processes_see_an_empty_home() -> None:
    child = json.loads(subprocess.check_output([sys.executable, "-c", SHOW]))
    home = os.environ["HOME"]
    for name, value in hermetic.environment(home).items():
        assert child[name] == os.environ[name] == value
    assert Path.home() == Path(home)
    assert Path(os.path.expanduser("~")).is_relative_to(home)
    assert cache_directory().is_relative_to(home)


def test_what_a_user_has_set_does_not_reach_the_tests() -> None:
    theirs = {f"{beginning}SET_BY_THE_USER": "x" for beginning in hermetic.SCRUBBED} | {"RESSEARCH_DATA": "/theirs"}
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "tests")}
    seen = json.loads(subprocess.check_output([sys.executable, "-c", ENTER], env={**theirs, **path}))
    assert {name: value for name, value in seen.items() if name.startswith(hermetic.SCRUBBED)} == {
        name: value for name, value in hermetic.environment(seen["HOME"]).items() if name.startswith(hermetic.SCRUBBED)
    }
    assert not Path(seen["HOME"]).exists()  # nor is anything left behind


def test_no_place_of_the_machine_is_searched_for_data() -> None:
    places = [place for name in files.PUBLISHED for place in files.places(name, None)]
    assert len(places) >= len(files.PUBLISHED)
    assert all(place.is_relative_to(os.environ["HOME"]) for place in places)


@pytest.mark.machine_data
def test_tests_that_say_so_see_the_machine() -> None:
    assert os.environ["HOME"] != hermetic.environment(os.environ["HOME"])["RESSEARCH_CACHE"]
    assert os.environ.get("RESSEARCH_DATA_PATH", "unset") != ""


@pytest.mark.parametrize("address", ["198.51.100.1", "2001:db8::1"])
def test_no_other_machine_can_be_reached(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as outside, pytest.raises(OSError, match="tests reach no network"):
        outside.connect((address, 80))
    with pytest.raises(socket.gaierror, match="tests reach no network"):
        socket.getaddrinfo("example.org", 80)


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        socket.create_connection(("localhost", server.getsockname()[1])).close()


def drawn(profile: str) -> list[int]:
    found: list[int] = []
    before = settings.get_current_profile_name()
    settings.load_profile(profile)
    try:

        @profiles.examples(20)
        @given(st.integers(0, 2**40))
        def draw(value: int) -> None:
            found.append(value)

        draw()
    finally:
        settings.load_profile(before)
    return found


def test_examples_are_the_same_every_time_but_when_fuzzing() -> None:
    assert drawn("test") == drawn("test")
    assert drawn("fuzz") != drawn("fuzz")
    assert len(drawn("fuzz")) >= 9 * len(drawn("test"))


def test_every_test_states_its_examples_for_all_profiles() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name not in ("profiles.py", Path(__file__).name):
            assert not re.search(r"max_examples|derandomize|@settings", path.read_text()), path.name


def test_ci_runs_what_a_user_runs() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    made = [line.removeprefix("make ") for line in commands if line.startswith("make ")]
    assert sorted(made) == ["test", "test-data", "test-slow"]
    targets = re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"test", "test-data", "test-slow", "test-all", "shuffle", "fuzz", "mutants"} <= set(targets)


def test_signals_are_heard_also_where_the_tests_were_started_with_nohup() -> None:
    said = "import signal; print(signal.getsignal(signal.SIGHUP).name, signal.getsignal(signal.SIGINT).__name__)"
    inside = f"import hermetic, subprocess, sys; hermetic.enter(); subprocess.run([sys.executable, '-c', {said!r}])"
    ignoring = "trap '' HUP INT; exec \"$@\""
    command = ["sh", "-c", ignoring, "sh", sys.executable, "-c", inside]
    ran = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True, check=True)
    assert ran.stdout == "SIG_DFL default_int_handler\n"
