"""Does a study survive? Kills its driver, its workers and its Ray node at random moments, resuming until it is done.

Each study is first run undisturbed. Then it is run again and killed (SIGKILL, no warning) at random moments, resumed
and killed again, in as many rounds as it takes for enough kills to hit. Counted: trials lost, trials twice, epochs lost
or twice. A grid, and a random search with one trial at a time, must end with exactly the undisturbed run's numbers.

    python benchmarks/faults.py --kills 24
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

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
recipe: {epochs: 50, seeds: 2}
search: {trials: 16, sampler: tpe, scheduler: asha}
""",
}
REPEATABLE = ("grid", "random")
"""Studies whose trials and numbers do not depend on time."""


def processes(marker: str) -> dict[int, str]:
    """Return the command lines of the processes that carry a marker in their environment, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if marker.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def victim(kind: str, driver: int, marker: str) -> int | None:
    """Return the process to kill: the driver, one that trains, or the node's raylet; None if there is none yet."""
    if kind == "driver":
        return driver
    for pid, command in processes(marker).items():
        is_worker = command.startswith("ray::") and "Trainable" in command
        if is_worker if kind == "worker" else "raylet/raylet" in command:
            return pid
    return None


def start(command: list[str], marker: str) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    environment = {**os.environ, "RESSEARCH_FAULTS": marker}
    return subprocess.Popen(
        [sys.executable, "-m", "ressearch", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def sweep(marker: str) -> None:
    """Wait for the processes that a killed driver leaves behind to end; end them if they do not."""
    deadline = time.monotonic() + 20
    while processes(marker) and time.monotonic() < deadline:
        time.sleep(0.3)
    for pid in processes(marker):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def torment(
    text: str, directory: Path, kills: int, kinds: list[str], chance: random.Random, longest: float = 20
) -> Counter[str]:
    """Run a study, kill and resume it until it is done; returns what was killed how often.

    Args:
        text: the study file.
        directory: to run it in.
        kills: how many at most.
        kinds: what may be killed: driver, worker, node.
        chance: draws the moments.
        longest: most seconds from a start to its first kill.
    """
    file = directory.with_suffix(".yaml")
    file.write_text(text, encoding="utf-8")
    done: Counter[str] = Counter()
    command = ["run", str(file), "--out", str(directory)]
    for _ in range(10 * kills + 10):
        marker = uuid.uuid4().hex
        process = start(command, marker)
        moment = time.monotonic() + chance.uniform(1, longest)
        kind = chance.choice(kinds)
        while process.poll() is None:
            time.sleep(0.1)
            if sum(done.values()) < kills and time.monotonic() > moment:
                pid = victim(kind, process.pid, marker)
                if pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        done[kind] += 1
                moment = time.monotonic() + chance.uniform(1, 10)
                kind = chance.choice(kinds)
        error = process.communicate()[1]
        sweep(marker)
        if process.returncode == 0:
            return done
        if "Traceback" in error and process.returncode == 2:
            raise AssertionError(error)
        if (directory / "run.json").is_file():
            command = ["resume", str(directory)]
        elif directory.exists():  # killed before anything was written
            for left in directory.iterdir():
                left.unlink()
    raise AssertionError(f"the study did not end; last message: {error}")


def check(directory: Path, undisturbed: Path | None) -> dict[str, Any]:
    """Count what was lost or doubled, and compare with the undisturbed run."""
    trials, curves = load(directory)
    run = load(directory).run
    searched = trials[trials["phase"] == "search"]
    planned = run["planned_trials"]
    numbers = Counter(searched["trial"])
    epochs = curves.groupby(["trial", "seed"])["epoch"].agg(["count", "max"])
    found = {
        "trials": len(trials),
        "lost": planned - len(numbers) + int(trials["status"].isin(["running", "interrupted"]).sum()),
        "doubled": sum(count - 1 for count in numbers.values())
        + len(searched)
        - len(searched.drop_duplicates(["name", "lr"])),
        "epochs_lost": int((epochs["max"] - epochs["count"]).clip(lower=0).sum()),
        "epochs_doubled": int(curves.duplicated(["trial", "seed", "epoch"]).sum()),
        "failed": int((trials["status"] == "failed").sum()),
        "equal_to_undisturbed": None,
    }
    if undisturbed is not None:
        columns = ["trial", "phase", "name", "status", "epochs", "val_accuracy", "val_loss", "test_accuracy"]
        before = load(undisturbed).trials
        found["equal_to_undisturbed"] = bool(
            trials[columns].equals(before[columns])
            and pd.DataFrame(
                curves.drop(columns="seconds").sort_values(["trial", "seed", "epoch"], ignore_index=True)
            ).equals(
                load(undisturbed)
                .curves.drop(columns="seconds")
                .sort_values(["trial", "seed", "epoch"], ignore_index=True)
            )
        )
    return found


def worst(checks: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what was lost or doubled in all rounds; equal if each was."""
    total = {key: sum(one[key] for one in checks) for key in checks[0] if key != "equal_to_undisturbed"}
    equal = [one["equal_to_undisturbed"] for one in checks]
    return {**total, "equal_to_undisturbed": None if None in equal else all(equal)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--kills", type=int, default=24, help="in all [24]")
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument(
        "--kinds", nargs="+", choices=["driver", "worker", "node"], default=["driver", "worker", "node"]
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments [0]")
    parser.add_argument("--save", action="store_true", help="write results/faults.json")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    rows = {}
    print(
        f"{'study':<8}{'kills':<34}{'trials':>7}{'lost':>6}{'doubled':>9}{'epochs lost':>13}{'doubled':>9}{'equal':>7}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.studies:
            undisturbed = None
            if name in REPEATABLE:
                undisturbed = Path(folder) / f"{name}-undisturbed"
                torment(STUDIES[name], undisturbed, 0, ["driver"], chance)
            share = -(-arguments.kills // len(arguments.studies))
            killed: Counter[str] = Counter()
            checks: list[dict[str, Any]] = []
            while sum(killed.values()) < share:
                directory = Path(folder) / f"{name}-{len(checks)}"
                killed += torment(STUDIES[name], directory, share - sum(killed.values()), arguments.kinds, chance)
                checks.append(check(directory, undisturbed))
            row = {"rounds": len(checks), "kills": dict(killed), **worst(checks)}
            rows[name] = row
            said = ", ".join(f"{count} {kind}" for kind, count in sorted(killed.items()))
            print(
                f"{name:<8}{said:<34}{row['trials']:>7}{row['lost']:>6}{row['doubled']:>9}{row['epochs_lost']:>13}"
                f"{row['epochs_doubled']:>9}{row['equal_to_undisturbed']!s:>7}",
                flush=True,
            )
    if arguments.save:
        from common import save

        save("faults", {"command": f"python benchmarks/faults.py --kills {arguments.kills}", "rows": rows})
    bad = [
        name
        for name, row in rows.items()
        if row["lost"]
        or row["doubled"]
        or row["epochs_lost"]
        or row["epochs_doubled"]
        or row["equal_to_undisturbed"] is False
    ]
    sys.exit(f"not as it should be: {', '.join(bad)}" if bad else 0)


if __name__ == "__main__":
    main()
