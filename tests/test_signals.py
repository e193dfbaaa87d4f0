"""What ends a command early: at any moment, the record is kept and the exit code says which signal it was."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ressearch import load, signals
from ressearch.errors import ResourceError
from ressearch.results.store import read_tables

STUDY = """
name: signals
space: {grid: {depth: [8, 14, 20], width: [4, 6]}}
data: {name: synthetic}
recipe: {epochs: 60, seeds: 2}
"""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def start(*command: str, **streams: int) -> subprocess.Popen[str]:
    streams = streams or {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "ressearch", *command], text=True, start_new_session=True, **streams)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def events(directory: Path, kind: str) -> int:
    journal = directory / "journal.jsonl"
    return journal.read_text().count(f'{{"event": "{kind}"') if journal.is_file() else 0


@pytest.mark.parametrize("number", CODES)
def test_a_signal_during_the_imports_ends_the_command_in_one_line(tmp_path: Path, number: signal.Signals) -> None:
    process = start("run", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "out"))
    # The signals are waited for within the first hundredth of a second of Python's own; the imports take seconds.
    wait_for(lambda: _blocks(process.pid, number), process)
    process.send_signal(number)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == CODES[number], error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("is_importing", [True, False])
def test_a_commands_imports_end_at_once_and_what_follows_is_interrupted(is_importing: bool) -> None:
    code = (
        "import os, signal, sys, time; from ressearch import signals; signals.watch()\n"
        "with signals.ending_at_once(), signals.raising():\n"
        "    try:\n"
        "        with signals.ending_at_once():\n"
        f"            if {is_importing}: os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)\n"
        "        os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)\n"
        "    except BaseException as hidden:\n"  # as a module that is imported may
        "        sys.exit(f'hidden: {hidden}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    said = "ended by SIGTERM\n"
    assert (done.returncode, done.stderr) == ((143, said) if is_importing else (1, f"hidden: {said}"))


def _blocks(pid: int, number: int) -> bool:
    """Return whether a process waits for a signal in a thread of its own."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    mask = next(line for line in status.splitlines() if line.startswith("SigBlk"))
    threads = next(line for line in status.splitlines() if line.startswith("Threads"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1) and int(threads.split()[1]) > 1


def test_every_signal_ends_a_study_as_ctrl_c_does_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    out = tmp_path / "out"

    process = start("run", str(tmp_path / "study.yaml"), "--out", str(out))  # while trials train
    wait_for(lambda: events(out, "epoch") > 5, process)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=240)[1]
    assert process.returncode == 143, error
    assert error == f"ended by SIGTERM; what was done is kept: `ressearch resume {out}` goes on\n"

    kept = events(out, "epoch")
    process = start("resume", str(out))  # between Ray's start and the first trial
    wait_for(lambda: events(out, "session") == 2, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)  # a second one while it ends
    error = process.communicate(timeout=240)[1]
    assert process.returncode == 130, error
    assert error == f"interrupted; what was done is kept: `ressearch resume {out}` goes on\n"
    found = load(out)
    assert not found.progress.is_complete
    assert found.progress.missing == ("search",)
    assert events(out, "epoch") >= kept

    leader, follower = pty.openpty()  # a terminal that is closed
    process = start("resume", str(out), stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    before = events(out, "epoch")
    reader = threading.Thread(target=_read, args=(leader, lambda: events(out, "epoch") > before + 5), daemon=True)
    reader.start()
    wait_for(lambda: not reader.is_alive(), process)
    os.close(leader)
    process.send_signal(signal.SIGHUP)  # as the shell sends it on
    process.wait(timeout=240)
    assert process.returncode == 129

    process = start("resume", str(out))
    assert process.wait(timeout=400) == 0
    tables, notes = read_tables(out)
    assert notes == ()
    assert load(out).progress.is_complete
    assert sorted(tables.trials) == list(range(6))
    assert load(out).trials["status"].tolist() == ["completed"] * 6
    curves = load(out).curves
    assert len(curves) == 6 * 60 * 2
    assert not curves.duplicated(["trial", "seed", "epoch"]).any()
    starts = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    ends = [event["trial"] for event in starts if event["event"] == "end" and event["status"] == "completed"]
    assert sorted(ends) == list(range(6))


def _read(leader: int, is_enough: Callable[[], bool]) -> None:
    while not is_enough():
        os.read(leader, 10_000)


@pytest.mark.parametrize("is_watched", [signal.SIGHUP, signal.SIGTERM])  # SIGHUP, or ignored as nohup has it
def test_what_is_printed_to_a_closed_terminal_changes_no_exit_code(is_watched: signal.Signals) -> None:
    code = (
        "import os, signal, sys\n"
        f"if {int(is_watched)} != signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from ressearch import signals; from ressearch.cli import endings, output; signals.watch()\n"
        "print('ready', flush=True); os.read(0, 1)\n"
        "sys.stdout.write('half a line')\n"
        "output.console().print('a line of the monitor'); output.say('a line')\n"
        "endings.fail('what was wrong')\n"
    )
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", code]
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=follower, stderr=follower, start_new_session=True, env=buffered
    )
    os.close(follower)
    assert os.read(leader, 100).startswith(b"ready")
    os.close(leader)
    process.communicate(b"x", timeout=60)
    assert process.returncode == 2


def test_a_signal_goes_before_a_ray_that_does_not_come_up_any_more() -> None:
    with signals.held("runs/mine"), pytest.raises(ResourceError):
        raise ResourceError("Ray did not start")
    code = (
        "import os, signal, time; from ressearch import errors, signals; signals.watch()\n"
        "try:\n"
        "    with signals.held('runs/mine'):\n"
        "        os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.3)\n"
        "        raise errors.ResourceError('Ray did not start')\n"
        "except signals.Interrupted as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout == "ended by SIGTERM; what was done is kept: `ressearch resume runs/mine` goes on\n"


def test_ignored_signals_stay_ignored() -> None:
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"  # as nohup has it
        "from ressearch import signals; signals.watch()\n"
        "import os; os.kill(os.getpid(), signal.SIGHUP); import time; time.sleep(0.5); print('alive')\n"
        "assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "alive\n"


def test_processes_that_the_command_starts_are_ended_by_signals_as_any() -> None:
    code = (
        "import subprocess, sys; from ressearch import signals; signals.watch()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], preexec_fn=lambda: None)\n"
        "child.terminate(); print(child.wait(timeout=30))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "-15\n"


def test_a_third_signal_ends_a_study_at_once_and_names_its_directory() -> None:
    code = (
        "import os, signal, time; from ressearch import signals; signals.watch()\n"
        "with signals.held('runs/mine'):\n"
        "    for _ in range(3):\n"
        "        os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.3)\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 143
    assert done.stderr == "ended by SIGTERM; what was done is kept: `ressearch resume runs/mine` goes on\n"


def test_a_study_run_from_python_gives_the_callers_handlers_back() -> None:
    def mine(number: int, frame: object) -> None:
        raise AssertionError

    before = {number: signal.getsignal(number) for number in CODES}
    try:
        signal.signal(signal.SIGTERM, mine)
        with signals.kept():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray sets its own
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # as Tune sets its own
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGINT) is before[signal.SIGINT]
        with signals.held("runs/mine"):
            with signals.noted():
                os.kill(os.getpid(), signal.SIGINT)
                assert signals.asked() == signal.SIGINT
            with pytest.raises(signals.Interrupted, match="`ressearch resume runs/mine` goes on"):
                signals.stop_if_asked("runs/mine")
        assert signals.asked() is None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_in_another_thread_no_handler_is_touched() -> None:
    before = {number: signal.getsignal(number) for number in CODES}
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with signals.held("runs/mine"), signals.kept(), signals.noted():
                assert {number: signal.getsignal(number) for number in CODES} == before
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
