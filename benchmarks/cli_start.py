"""How long the command line takes to answer, against a Python that does nothing.

Seconds are processor time of the whole process, so that what else runs on the machine does not count; each word is
asked several times, in turn with `python -c pass`, and the median counts.

    python benchmarks/cli_start.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from common import save

ROOT = Path(__file__).parents[1]
WORDS = {
    "--help": ("--help",),
    "run --help": ("run", "--help"),
    "--version": ("--version",),
    "list": ("list",),
    "list skips": ("list", "skips"),
    "status": ("status", "reports/quickstart"),
    "pick": ("pick", "reports/quickstart", "--max-macs", "4M"),
    "check": ("check", "studies/quickstart.yaml"),
}


def cpu_seconds(*arguments: str) -> float:
    """Run Python with some arguments in the project's root; returns its processor time."""
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--times", type=int, default=5, help="how often each word is asked")
    times = parser.parse_args().times
    seconds: dict[str, list[float]] = {name: [] for name in ("python -c pass", *WORDS)}
    for _ in range(times):
        seconds["python -c pass"].append(cpu_seconds("-c", "pass"))
        for name, word in WORDS.items():
            seconds[name].append(cpu_seconds("-m", "ressearch", *word))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    nothing = medians["python -c pass"]
    rows = {name: {"cpu_seconds": median, "ratio": median / nothing} for name, median in medians.items()}
    for name, row in rows.items():
        print(f"{name:<15} {row['cpu_seconds']:6.3f} s, {row['ratio']:6.1f} x python -c pass")
    command = "python benchmarks/cli_start.py" + (f" --times {times}" if times != 5 else "")
    save("cli_start", {"command": command, "times": times, "rows": rows})


if __name__ == "__main__":
    main()
