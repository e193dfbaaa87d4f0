"""`run.json`, whether its process is alive, and how far a study is by its record."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from results.made import RUN

from ressearch.errors import StudyError
from ressearch.results.progress import Progress, progress
from ressearch.results.run_file import is_alive, read_run, require_study, write_run
from ressearch.results.tables import Tables


def test_a_run_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = {**RUN, "further": {"ä": [1, None]}, "overrides": {"a": "1"}, "pid": 3, "active_seconds": 1}
    write_run(tmp_path, run)
    assert read_run(tmp_path) == run
    text = (tmp_path / "run.json").read_text()
    assert text == json.dumps(run, indent=2) + "\n"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "expected a mapping"),
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (json.dumps({**RUN, "name": 3}), "name: input should be a valid string"),
        (json.dumps({**RUN, "planned_trials": "3"}), "planned_trials: input should be a valid integer"),
        (json.dumps({**RUN, "num_classes": None}), "num_classes: input should be a valid integer"),
        (json.dumps({**RUN, "input_shape": [3, "a"]}), "input_shape.1: input should be a valid integer"),
        (json.dumps({**RUN, "study": {"search": {"finalists": {"count": "2"}}}}),
         "study.search.finalists.count: input should be a valid integer"),
        (json.dumps({**RUN, "plugins": {"a": {}}}), "plugins.a.sha256: field required"),
        *((json.dumps({key: RUN[key] for key in RUN if key != left_out}), f"{left_out}: field required")
          for left_out in ("name", "planned_trials", "input_shape", "num_classes")),
    ],
    ids=lambda value: value[-50:],
)  # fmt: skip
def test_a_damaged_run_file_is_refused_by_key(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(text)
    with pytest.raises(StudyError) as caught:
        read_run(tmp_path)
    assert str(caught.value) == f"{file}: damaged: {message}"


def test_a_run_file_that_is_no_text_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"run\.json: damaged: .*No such file"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_bytes(b"\xff")
    with pytest.raises(StudyError, match=r"run\.json: damaged: 'utf-8' codec"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(StudyError, match=r"run\.json: damaged: "):
        read_run(tmp_path)


def test_a_directory_without_a_run_file_is_no_study(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "none", "X: no such directory; `ressearch run STUDY.yaml --out X` makes one"),
        (tmp_path, "X: holds no study (no run.json)"),
    ):
        with pytest.raises(StudyError) as caught:
            require_study(path, "X")
        assert str(caught.value) == message
    (tmp_path / "run.json").touch()
    require_study(tmp_path, "X")


HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("run", "alive"),
    [
        ({"host": HERE, "pid": os.getpid()}, True),
        ({"host": HERE, "pid": os.getpid(), "ended_at": None}, True),
        ({"host": HERE, "pid": os.getpid(), "ended_at": "2026"}, False),
        ({"host": "elsewhere", "pid": os.getpid(), "ended_at": "2026"}, False),
        ({"host": "elsewhere", "pid": -5}, True),
        ({"pid": -5}, True),
        ({"host": HERE, "pid": 1}, True),
        ({"host": HERE}, False),
        ({"host": HERE, "pid": None}, False),
        ({"host": HERE, "pid": "x"}, False),
        ({"host": HERE, "pid": 2**80}, False),
    ],
)
def test_a_run_is_alive_if_its_process_is(run: dict[str, Any], alive: bool, tmp_path: Path) -> None:
    assert is_alive(run) is alive
    assert is_alive(run, tmp_path) is alive  # no lock there


def test_the_process_of_a_run_that_was_killed_is_not_alive() -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    assert not is_alive({"host": HERE, "pid": ended.pid})


def test_a_lock_says_whether_a_process_of_this_machine_works_on_the_study(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    mine, nobody = {"host": HERE, "pid": os.getpid()}, {"host": HERE}
    assert (is_alive(mine, tmp_path), is_alive(nobody, tmp_path)) == (False, False)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert (is_alive(mine, tmp_path), is_alive(nobody, tmp_path), is_alive(nobody)) == (True, True, False)
        assert not is_alive({**mine, "ended_at": "2026"}, tmp_path)
        descriptors = len(os.listdir("/proc/self/fd"))
        is_alive(nobody, tmp_path)
        assert len(os.listdir("/proc/self/fd")) == descriptors
    assert is_alive({"host": "elsewhere"}, tmp_path)


def tables(*trials: tuple[str, str], **values: Any) -> Tables:
    """Return tables of trials numbered from 0, each with its phase and status."""
    rows = {
        number: {"trial": number, "phase": phase, "status": status} for number, (phase, status) in enumerate(trials)
    }
    return Tables(trials=rows, **values)


S, F, B = ("search", "completed"), ("final", "completed"), ("baseline", "stopped")
RUNNING, CUT = ("search", "running"), ("search", "interrupted")
ALL = [S, ("search", "failed"), ("search", "diverged")]
OLD = {key: value for key, value in RUN.items() if key != "record"}


def asked(run: dict[str, Any] = RUN, **search: Any) -> dict[str, Any]:
    return {**run, "study": {"search": search}}


FINAL = asked(finalists={"count": 2})
BOTH = asked(finalists={"count": 1}, baseline="random")


@pytest.mark.parametrize(
    ("run", "known", "ended", "planned", "missing"),
    [
        (RUN, tables(), 0, 3, ["search"]),
        (RUN, tables(S), 1, 3, ["search"]),
        (RUN, tables(*ALL), 3, 3, []),
        (RUN, tables(*ALL, S), 4, 4, []),
        (RUN, tables(*ALL, RUNNING), 3, 4, ["search"]),
        (RUN, tables(*ALL[:2], CUT), 2, 3, ["search"]),
        (RUN, tables(S, finished={"search": "spent"}), 1, 1, []),
        (RUN, tables(S, CUT, finished={"search": "spent"}), 1, 2, ["search"]),
        (RUN, tables(*ALL[:2], F), 3, 3, ["search"]),  # a finalist is none of the search
        ({**RUN, "study": {}}, tables(*ALL), 3, 3, []),
        (asked(finalists=None, baseline=None), tables(*ALL), 3, 3, []),
        (asked(finalists={"count": 0}), tables(*ALL), 3, 3, []),
        (asked(finalists={}), tables(*ALL), 3, 3, []),
        (FINAL, tables(*ALL), 3, 3, ["final"]),
        (FINAL, tables(*ALL, plans={"final": [3, 4]}), 3, 5, ["final"]),
        (FINAL, tables(*ALL, F, plans={"final": [3, 4]}, settled={"final"}), 4, 5, ["final"]),
        (FINAL, tables(*ALL, F, F, plans={"final": [3, 4]}, settled={"final"}), 5, 5, []),
        (FINAL, tables(*ALL, F, F, plans={"final": [3, 4]}), 5, 5, ["final"]),  # a change unsettled it
        (FINAL, tables(*ALL, F, ("final", "running"), plans={"final": [3, 4]}, settled={"final"}), 4, 5, ["final"]),
        (FINAL, tables(*ALL, F, ("final", "running"), plans={"final": [3]}, settled={"final"}), 4, 5, ["final"]),
        (FINAL, tables(*ALL, F, F, plans={"final": [3]}, settled={"final"}), 5, 5, []),
        (FINAL, tables(*ALL, plans={"final": []}, settled={"final"}), 3, 3, []),
        (BOTH, tables(), 0, 3, ["search", "baseline", "final"]),
        (BOTH, tables(*ALL, B, plans={"baseline": [3]}, settled={"baseline"}), 4, 4, ["final"]),
        (
            BOTH,
            tables(*ALL, B, F, plans={"baseline": [3], "final": [4]}, settled={"baseline", "final"}),
            5,
            5,
            [],
        ),
        # of older versions: no plans, no reasons
        (asked({**OLD, "is_complete": True}, finalists={"count": 1}), tables(*ALL, F), 4, 4, []),
        (asked({**OLD, "is_complete": False}, finalists={"count": 1}), tables(*ALL, F), 4, 4, ["final"]),
        (asked(OLD, finalists={"count": 1}), tables(*ALL, F), 4, 4, []),  # tables alone, all of them ended
        (asked(OLD, finalists={"count": 1}), tables(*ALL[:2], F), 3, 4, ["search", "final"]),
        (
            asked({**OLD, "is_complete": True}, finalists={"count": 1}),
            tables(*ALL, ("final", "running")),
            3,
            4,
            ["final"],
        ),
        ({**OLD, "is_complete": True}, tables(S), 1, 3, ["search"]),
        (asked({**OLD, "is_complete": True}, budget={"epochs": 9}), tables(S), 1, 1, []),
        (asked({**OLD, "is_complete": True}, budget={"epochs": None}), tables(S), 1, 3, ["search"]),
        (asked({**OLD, "is_complete": True}, budget={"epochs": 0}), tables(S), 1, 1, []),
        (asked({**OLD, "is_complete": True}, constraints={"max_latency": "5ms"}), tables(S), 1, 1, []),
        (asked({**OLD, "is_complete": True}, constraints={"max_params": 5}), tables(S), 1, 3, ["search"]),
        (asked({**OLD, "is_complete": True}, warm_start=["x"]), tables(S), 1, 1, []),
        (asked({**OLD, "is_complete": True}, warm_start=[]), tables(S), 1, 3, ["search"]),
        (asked({**OLD, "is_complete": True}, budget={"epochs": 9}), tables(), 0, 3, ["search"]),
        (asked({**OLD, "is_complete": True}, budget={"epochs": 9}), tables(S, CUT), 1, 3, ["search"]),
        (asked({**OLD, "is_complete": False}, budget={"epochs": 9}), tables(S), 1, 3, ["search"]),
        (asked(OLD, budget={"epochs": 9}), tables(S), 1, 3, ["search"]),
        # a record that names phases is believed, whatever else is claimed
        (asked({**RUN, "is_complete": True}, budget={"epochs": 9}), tables(S, settled={"final"}), 1, 3, ["search"]),
        (asked({**RUN, "is_complete": False}, budget={"epochs": 9}), tables(S), 1, 3, ["search"]),
        (asked({**OLD, "is_complete": True}, budget={"epochs": 9}), tables(S, settled={"final"}), 1, 1, []),
    ],
)
def test_how_far_a_study_is_follows_from_its_record(
    run: dict[str, Any], known: Tables, ended: int, planned: int, missing: list[str]
) -> None:
    found = progress(run, known)
    assert (found.ended, found.planned, list(found.missing)) == (ended, planned, missing)
    assert found.is_complete is (missing == [])


def test_progress_says_why_a_phase_ended_early() -> None:
    known = tables(S, finished={"search": "the budget is spent"})
    assert progress(RUN, known) == Progress(1, 1, (), {"search": "the budget is spent"})
    complete = asked({**OLD, "is_complete": True}, warm_start=["x"])
    assert progress(complete, tables(S)) == Progress(1, 1, (), {})
