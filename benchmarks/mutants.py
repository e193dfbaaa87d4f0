"""Which small mistakes the tests would notice: mutation testing of one room of the package with its own tests (mutmut).

Every operator, number, string, argument and branch of the room's functions is changed, one at a time, and the tests of
the room (`tests/ROOM`) are run against each change. A change that no test fails for has survived: a test is missing, or
the change means nothing. Tests that take longer than `--slowest` seconds are left out; studies that tests only read are
run once. Work is kept under `.mutants/ROOM`: what was tried is tried again only when its function changed, or with
`--again`, which retries what survived (after tests were added).

    make mutants ROOM=spaces
    python benchmarks/mutants.py spaces --sample 200       # 200 of them, the same every time
    python benchmarks/mutants.py --table                   # what is known of every room
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".mutants"
ROOMS = ("search", "results", "training", "data", "networks", "spaces", "reporting", "cli")
COPIED = ("ressearch", "tests", "benchmarks", "studies", "docs", "reports", "README.md", "CHANGELOG.md")
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.toml"
KILLED = {1, 3, 24, -24, 36, 152, 255, -11, -9, 139}
"""Exit codes of tests that noticed: failures, errors, timeouts and crashes."""
NO_TESTS = 33


def prepare(room: str, tests: list[str], slowest: float) -> Path:
    """Copy the project to `.mutants/ROOM` and write there what mutmut is to do. Returns that directory."""
    work = WORK / room
    work.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        _copy(ROOT / name, work / name)
    environment = _environment(work)
    timings = work / "timings.xml"
    arguments = [*tests, "-q", "-p", "no:randomly", f"--junitxml={timings}"]
    _copy(ROOT / "pyproject.toml", work / "pyproject.toml")
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=work, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"the tests of {room} fail before anything is changed")
    slow = [name for name, seconds in _timings(timings) if seconds > slowest]
    print(f"{len(slow)} tests take longer than {slowest:g} s and are left out")
    _write_settings(work, room, tests, slow)
    return work


def _copy(source: Path, target: Path) -> None:
    """Make `target` equal to `source`; a file that is equal keeps its time, by which mutmut knows what changed."""
    if source.is_dir():
        target.mkdir(exist_ok=True)
        names = {path.name for path in source.iterdir() if path.name != "__pycache__"}
        for name in names:
            _copy(source / name, target / name)
        for path in target.iterdir():
            if path.name not in names:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)


def _environment(work: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": "", "TESTS_SMALL_RUN": str(work / "small"), "OMP_NUM_THREADS": "1"}


def _timings(path: Path) -> Iterator[tuple[str, float]]:
    """Yield each test's name and seconds, fixtures included."""
    for case in ElementTree.parse(path).iter("testcase"):
        yield f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name']}", float(case.attrib["time"])


def _write_settings(work: Path, room: str, tests: list[str], slow: Iterable[str]) -> None:
    """Write mutmut's settings into the copy's pyproject.toml."""
    settings = {
        "source_paths": ["ressearch"],
        "only_mutate": [f"ressearch/{room}/*", f"ressearch/{room}.py"],
        "also_copy": [name for name in COPIED if name not in ("ressearch", "tests")],
        "pytest_add_cli_args_test_selection": tests,
        "pytest_add_cli_args": [f"--deselect={name}" for name in slow],
        "process_isolation": "forkserver",  # torch's threads do not survive a fork
        "use_git_change_detection": False,
        "on_dependency_change": "ignore",
        "timeout_constant": 2.0,
        "timeout_multiplier": 8.0,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    _write(work / "pyproject.toml", text + "\n[tool.mutmut]\n" + "\n".join(lines) + "\n")


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def mutate(work: Path, names: list[str], processes: int, check: bool = True) -> None:
    """Have mutmut try the mutants of these names; without names, all that were not yet tried."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *names]
    subprocess.run(command, cwd=work, env=_environment(work), check=check)


def outcomes(work: Path) -> dict[str, int | None]:
    """Return the exit code of the tests for each mutant, None for one that was not tried."""
    codes: dict[str, int | None] = {}
    for path in sorted((work / "mutants" / "ressearch").rglob("*.meta")):
        codes.update(json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"])
    return codes


def alive(work: Path) -> list[str]:
    """Return the mutants that were tried and that no test noticed."""
    return [name for name, code in outcomes(work).items() if code is not None and code not in KILLED]


def sampled(names: Iterable[str], count: int) -> list[str]:
    """Return `count` of these names, the same for the same names."""
    names = sorted(names)
    return sorted(random.Random(0).sample(names, min(count, len(names))))


def difference(work: Path, name: str) -> str:
    """Return the lines that a mutant takes away and adds."""
    command = [sys.executable, "-m", "mutmut", "show", name]
    shown = subprocess.run(command, cwd=work, env=_environment(work), check=True, capture_output=True, text=True)
    lines = [line for line in shown.stdout.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return "\n".join(line.rstrip() for line in lines)


def equivalents() -> dict[tuple[str, str], str]:
    """Return why a mutant means nothing, by function and difference."""
    if not EQUIVALENT.exists():
        return {}
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["mutant"]
    return {(entry["function"], entry["difference"].strip()): entry["reason"] for entry in entries}


def summary(room: str) -> dict[str, int]:
    """Return how many mutants of a room were tried, killed, survived, had no test, and mean nothing."""
    counts: Counter[str] = Counter()
    path = WORK / room / "survivors.json"
    same = equivalents()
    survivors = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, code in outcomes(WORK / room).items():
        counts["mutants"] += 1
        if code is None:
            continue
        counts["tried"] += 1
        if code in KILLED:
            counts["killed"] += 1
        elif (function(name), survivors.get(name, "").strip()) in same:
            counts["equivalent"] += 1
        else:
            counts["no test" if code == NO_TESTS else "survived"] += 1
    return dict(counts)


def function(name: str) -> str:
    """Return the function that a mutant belongs to, as mutmut spells it."""
    return name.rpartition("__mutmut_")[0]


def list_survivors(room: str) -> Path:
    """Write what survived, by file and function, with the lines that changed. Returns the file."""
    work = WORK / room
    differences = {name: difference(work, name) for name in alive(work)}
    (work / "survivors.json").write_text(json.dumps(differences, indent=1), encoding="utf-8")
    same = equivalents()
    path = work / "survivors.txt"
    with path.open("w", encoding="utf-8") as file:
        for name, text in differences.items():
            if (function(name), text.strip()) not in same:
                file.write(f"{name}\n{text}\n\n")
    return path


def table(rooms: Iterable[str]) -> str:
    """Return a table, by room, of what is known."""
    columns = ("mutants", "tried", "killed", "equivalent", "survived", "no test")
    lines = [f"{'room':10}" + "".join(f"{name:>11}" for name in (*columns, "score"))]
    for room in rooms:
        counts = Counter(summary(room))
        meaning = counts["tried"] - counts["equivalent"]
        score = f"{counts['killed'] / meaning:.1%}" if meaning else "-"
        lines.append(f"{room:10}" + "".join(f"{counts[name]:11}" for name in columns) + f"{score:>11}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("room", nargs="?", help=f"one of {', '.join(ROOMS)}, or a module: registry, plugins, export, …")
    parser.add_argument("--tests", nargs="+", help="the tests to run instead of tests/ROOM")
    parser.add_argument("--sample", type=int, help="how many mutants to try, the same ones every time")
    parser.add_argument("--only", nargs="+", default=[], help="patterns of mutants: ressearch.spaces.answers*")
    parser.add_argument("--again", action="store_true", help="try again what survived")
    parser.add_argument("--slowest", type=float, default=1.5, help="seconds above which a test is left out")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--table", action="store_true", help="print what is known of every room, and try nothing")
    options = parser.parse_args()
    if options.table:
        print(table(room for room in ROOMS if (WORK / room / "mutants").exists()))
        return
    if options.room is None:
        parser.error("which room?")
    room = options.room
    tests = options.tests or ([f"tests/{room}"] if room in ROOMS else [f"tests/test_{room}.py"])
    work = prepare(room, tests, options.slowest)
    names = list(options.only)
    if options.again:
        names += alive(work)
    if options.sample:
        names += _sample(work, options.sample)
    if names or not (options.again or options.sample):
        mutate(work, names, options.processes)
    print(f"\nwhat survived: {list_survivors(room)}\n")
    print(table([room]))


def _sample(work: Path, count: int) -> list[str]:
    """Return the sample's mutants that were not tried."""
    if not (work / "mutants").exists():
        mutate(work, ["none of them"], 1, check=False)  # writes the mutants, learns which tests see them, and stops
    known = outcomes(work)
    return [name for name in sampled(known, count) if known[name] is None]


if __name__ == "__main__":
    main()
