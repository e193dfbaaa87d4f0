"""What is lost when a study is ended: at random moments, by signals and kills, each time resumed until it is complete.

Each study is first run undisturbed, where its numbers can be compared. Then it is run again and ended: SIGINT, SIGTERM
or SIGHUP to its process, SIGKILL to its process, to a worker or to the Ray node; a third of them in the first ten
seconds of `run` or `resume`, the rest later. It is resumed and ended again, in as many rounds as it takes for all to
hit. Counted: trials lost or twice, epochs lost or twice, exit codes. A grid, and a random search, must end with exactly
the undisturbed run's numbers.

    python benchmarks/faults.py --moments 64
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ressearch import load

STUDIES: dict[str, str] = {
    "grid": """
name: grid
space: {grid: {skip: [none, identity], depth: [8, 14, 20, 26], width: [4, 6]}}
data: {name: synthetic}
recipe: {epochs: 50, seeds: 2}
""",
    "random": """
name: random
space: {search: {skip: [none, identity], depth: [8, 14, 20, 26], width: {low: 4, high: 12}}}
data: {name: synthetic}
recipe: {epochs: 50, seeds: 2}
search: {trials: 16, sampler: random, finalists: {count: 2, seeds: 2}}
resources: {concurrency: 1}
""",
    "tpe": """
name: tpe
space: {search: {skip: [none, identity], depth: [8, 14, 20, 26], width: {low: 4, high: 12}}}
data: {name: synthetic}
recipe: {epochs: 50, seeds: 2, schedule: cosine}
search: {trials: 16, sampler: tpe, scheduler: asha, finalists: {count: 2, seeds: 2}, baseline: random}
""",
    "median": """
name: median
space: {search: {skip: [none, identity], depth: [8, 14, 20, 26], width: {low: 4, high: 12}}}
data: {name: synthetic}
recipe: {epochs: 50, seeds: 2, schedule: cosine}
search: {trials: 16, sampler: random, scheduler: median}
""",
}
REPEATABLE = ("grid", "random")
"""Studies whose trials and numbers do not depend on time."""

EARLY = 10.0
"""Seconds: a third of the moments lie before, from the start of `run` or `resume`."""

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGKILL": -9}
"""What the study's process exits with when it gets a signal."""

WAYS = (
    *(("SIGINT", "driver"), ("SIGTERM", "driver"), ("SIGHUP", "driver")),
    *(("SIGKILL", "driver"), ("SIGKILL", "worker"), ("SIGKILL", "node")),
)
"""Which signal, to which process."""


@dataclass(frozen=True)
class Shot:
    """One end of a process.

    Attributes:
        seconds: from the start of the command, or from the shot before in the same one.
        signal: its name.
        target: driver, worker or node.
        command: run or resume, once it was fired.
        at: seconds from the start of the command at which it was fired.
        exit_code: of the study's process, if it ended by it.
    """

    seconds: float
    signal: str
    target: str
    command: str = ""
    at: float = 0.0
    exit_code: int | None = None


def shots_of(count: int, chance: random.Random) -> list[Shot]:
    """Return moments and ways in random order: each way as often, a third of them early."""
    ways = [WAYS[number % len(WAYS)] for number in range(count)]
    chance.shuffle(ways)
    early = set(chance.sample(range(count), -(-count // 3)))
    return [
        Shot(chance.uniform(0.2, EARLY) if number in early else chance.uniform(EARLY, 30), *way)
        for number, way in enumerate(ways)
    ]


def processes(marker: str) -> dict[int, str]:
    """Return the command lines of the processes that carry a marker in their environment, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if marker.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def victim(target: str, driver: int, marker: str) -> int | None:
    """Return the process to end: the driver, one that trains, or the node's raylet; None if there is none yet."""
    if target == "driver":
        return driver
    for pid, command in processes(marker).items():
        is_worker = command.startswith("ray::") and "Trainable" in command
        if is_worker if target == "worker" else "raylet/raylet" in command:
            return pid
    return None


def start(command: list[str], marker: str) -> subprocess.Popen[str]:
    """Start the command line in a process and session of its own."""
    environment = {**os.environ, "RESSEARCH_FAULTS": marker}
    return subprocess.Popen(
        [sys.executable, "-m", "ressearch", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def sweep(marker: str) -> None:
    """Wait for the processes that a killed driver leaves behind to end; end them if they do not."""
    deadline = time.monotonic() + 20
    while processes(marker) and time.monotonic() < deadline:
        time.sleep(0.3)
    for pid in processes(marker):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def torment(text: str, directory: Path, shots: Sequence[Shot] = ()) -> list[Shot]:
    """Run a study, end and resume it until it is complete; returns the shots that were fired.

    Args:
        text: the study file.
        directory: to run it in.
        shots: in order; those that are left when the study is complete are not fired.

    Raises AssertionError if the study ends otherwise than by what was done to it.
    """
    file = directory.with_suffix(".yaml")
    file.write_text(text, encoding="utf-8")
    waiting, fired = list(shots), []
    for _ in range(10 * len(shots) + 10):
        is_resumed = (directory / "run.json").is_file()  # else it was ended before anything was written
        command = ["resume", str(directory)] if is_resumed else ["run", str(file), "--out", str(directory)]
        marker = uuid.uuid4().hex
        began = time.monotonic()
        process = start(command, marker)
        due = began + waiting[0].seconds if waiting else float("inf")
        last = None
        while process.poll() is None:
            time.sleep(0.02)
            if time.monotonic() < due or (last is not None and last.target == "driver"):
                continue
            pid = victim(waiting[0].target, process.pid, marker)
            if pid is None or process.poll() is not None:
                continue
            shot = waiting.pop(0)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.Signals[shot.signal])
            last = dataclasses.replace(shot, command=command[0], at=round(time.monotonic() - began, 2))
            fired.append(last)
            due = time.monotonic() + waiting[0].seconds if waiting else float("inf")
        error = process.communicate()[1]
        sweep(marker)
        if last is not None:
            fired[-1] = dataclasses.replace(last, exit_code=process.returncode)
        if process.returncode == 0:
            return fired
        _require_expected(process.returncode, error, last, directory)
    raise AssertionError(f"the study did not end; last message: {error}")


def _require_expected(code: int, error: str, last: Shot | None, directory: Path) -> None:
    """Raise AssertionError if a process ended otherwise than its last shot says, or said something else besides."""
    if code == 2 and "Ray did not start" in error and last is None:
        return  # a machine under load; the study is resumed
    if last is None:
        raise AssertionError(f"ended by itself with {code}: {error}")
    lines = error.strip().splitlines()
    if last.target == "driver":
        is_expected = code == CODES[last.signal] and len(lines) == (0 if last.signal == "SIGKILL" else 1)
        is_named = last.signal == "SIGKILL" or not (directory / "journal.jsonl").is_file() or str(directory) in error
    else:
        is_expected = code in (1, 2, 130) and "Traceback" not in error  # a lost node ends the study, which is resumed
        is_named = True
    if not (is_expected and is_named):
        raise AssertionError(f"{last}: ended with {code}: {error}")


def check(directory: Path, undisturbed: Path | None) -> dict[str, Any]:
    """Count what was lost or doubled, by the journal itself, and compare with the undisturbed run."""
    results = load(directory)
    trials, curves = results
    lines = [json.loads(line) for line in (directory / "journal.jsonl").read_text().splitlines()]
    ends = Counter(one["trial"] for one in lines if one["event"] == "end" and one["status"] != "interrupted")
    searched = trials[trials["phase"] == "search"]
    plans = {one["phase"]: one["trials"] for one in lines if one["event"] == "plan"}
    planned = [*range(results.run["planned_trials"]), *(number for numbers in plans.values() for number in numbers)]
    epochs = curves.groupby(["trial", "seed"])["epoch"].agg(["count", "max"])
    found = {
        "trials": len(trials),
        "lost": len(set(planned) - set(ends)) + (not results.progress.is_complete),
        "doubled": sum(count - 1 for count in ends.values())
        + len(set(ends) - set(planned))
        + len(searched)
        - len(searched.drop_duplicates(["name", "lr"])),
        "epochs_lost": int((epochs["max"] - epochs["count"]).clip(lower=0).sum()),
        "epochs_doubled": int(curves.duplicated(["trial", "seed", "epoch"]).sum()),
        "examples_lost": sum(
            results.correct(one) is None for one in trials.loc[trials["status"] == "completed", "trial"]
        ),
        "failed": int((trials["status"] == "failed").sum()),
        "equal_to_undisturbed": None,
    }
    if undisturbed is not None:
        columns = ["trial", "phase", "name", "status", "epochs", "val_accuracy", "val_loss", "test_accuracy"]
        before = load(undisturbed)
        order = ["trial", "seed", "epoch"]
        one, other = (each.curves.drop(columns="seconds").sort_values(order) for each in (results, before))
        found["equal_to_undisturbed"] = bool(
            trials[columns].equals(before.trials[columns])
            and one.reset_index(drop=True).equals(other.reset_index(drop=True))
            and all(np.array_equal(*(each.correct(number) for each in (results, before))) for number in trials["trial"])
        )
    return found


def worst(checks: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what was lost or doubled in all rounds; equal if each was."""
    total = {key: sum(one[key] for one in checks) for key in checks[0] if key != "equal_to_undisturbed"}
    equal = [one["equal_to_undisturbed"] for one in checks]
    return {**total, "equal_to_undisturbed": None if None in equal else all(equal)}


def torment_rounds(name: str, shots: list[Shot], folder: Path) -> dict[str, Any]:
    """Run a study in as many rounds as it takes for all shots to be fired; returns its row of the results."""
    undisturbed = None
    if name in REPEATABLE:
        undisturbed = folder / f"{name}-undisturbed"
        torment(STUDIES[name], undisturbed)
    fired: list[Shot] = []
    checks: list[dict[str, Any]] = []
    while len(fired) < len(shots):
        directory = folder / f"{name}-{len(checks)}"
        fired += torment(STUDIES[name], directory, shots[len(fired) :])
        checks.append(check(directory, undisturbed))
    return {
        "rounds": len(checks),
        "signals": dict(sorted(Counter(f"{shot.signal} {shot.target}" for shot in fired).items())),
        "early": sum(shot.at <= EARLY for shot in fired),
        **worst(checks),
        "shots": [dataclasses.asdict(shot) for shot in fired],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--moments", type=int, default=64, help="in all [64]")
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--seed", type=int, default=0, help="of the moments [0]")
    parser.add_argument("--save", action="store_true", help="write results/faults.json")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    rows = {}
    share = -(-arguments.moments // len(arguments.studies))
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.studies:
            row = rows[name] = torment_rounds(name, shots_of(share, chance), Path(folder))
            print(json.dumps({name: {key: value for key, value in row.items() if key != "shots"}}), flush=True)
    ways: Counter[str] = sum((Counter(row["signals"]) for row in rows.values()), Counter())
    print(", ".join(f"{count} {way}" for way, count in sorted(ways.items())))
    if arguments.save:
        from common import save

        command = f"python benchmarks/faults.py --moments {arguments.moments}"
        save(
            "faults",
            {"command": command, "moments": sum(ways.values()), "ways": dict(sorted(ways.items())), "rows": rows},
        )
    counted = ("lost", "doubled", "epochs_lost", "epochs_doubled", "examples_lost")
    bad = [
        name for name, row in rows.items() if any(row[key] for key in counted) or row["equal_to_undisturbed"] is False
    ]
    sys.exit(f"not as it should be: {', '.join(bad)}" if bad else 0)


if __name__ == "__main__":
    main()
