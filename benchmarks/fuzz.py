"""Does any input end in a traceback, a hang, a dead process or an overwritten file? By trying thousands.

Study files, `--set`, study directories, data files, networks and arguments are spoilt at random (`fuzz_cases.py`) and
given to the command. Long-lived processes call `ressearch.cli.main`, each input with a time limit, the process with a
limit on its memory. Training is stood in for: what is asked is whether input is read or refused. An input is well met
if it ends with exit code 0 or 2, with 2 in lines that start with "ressearch: error:", within the time limit, and leaves
what is not its own as it was.

    python benchmarks/fuzz.py --inputs 5000            # from a fresh seed, which is printed
    python benchmarks/fuzz.py --seed 1 --only 42       # one input again, with what it said
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import os
import random
import resource
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

LIMIT = 20.0
"""Seconds for an input."""
ADDRESS_SPACE = 12 * 2**30


class StandInTuner:
    """Asks the searcher and tells the recorder as Ray Tune does, one trial after another, but trains nothing."""

    def __init__(self, trainable: Any, tune_config: Any, run_config: Any) -> None:
        self._searcher, self._most = tune_config.search_alg, min(tune_config.num_samples, 20)
        self._recorder = run_config.callbacks[0]

    def fit(self) -> None:
        """Run every trial; one that `FUZZ_STOP_AT` names starts, and nothing comes after it."""
        from ray.tune.search import Searcher

        for number in range(self._most):
            config = self._searcher.suggest(f"trial{number}")
            if config is None or config == Searcher.FINISHED:
                return
            trial = SimpleNamespace(config=config, last_result=None, get_error=lambda: None)
            self._recorder.on_trial_start(0, [], trial)
            if os.environ.get("FUZZ_STOP_AT") == str(number):
                return
            self._train(trial, number)
            self._recorder.on_trial_complete(0, [], trial)
            self._searcher.on_trial_complete(f"trial{number}", trial.last_result)

    def _train(self, trial: Any, number: int) -> None:
        recipe = self._recorder._recipe
        for epoch in range(1, min(recipe.epochs, 5) + 1):
            accuracy = 0.5 + 0.01 * number + 0.05 * epoch
            scores = {"lr": 0.1, "train_loss": 1.0, "train_accuracy": accuracy, "val_loss": 1.0 / epoch}
            results = [
                {"seed": seed, "epoch": epoch, **scores, "val_accuracy": accuracy, "seconds": 0.1}
                for seed in recipe.seeds
            ]
            trial.last_result = {"results": [results], "epoch": epoch, "val_accuracy": accuracy, "val_loss": 1.0}
            self._recorder.on_trial_result(0, [], trial, trial.last_result)
        test = [{"accuracy": 0.5, "loss": 1.0} for _ in recipe.seeds] if self._recorder._phase == "final" else None
        trial.last_result |= {"outcome": "completed", "test": test}


class StandInEngine:
    """A network that is trained already."""

    def __init__(self, architecture: Any, splits: Any, classes: int, recipe: Any, init: Any = None) -> None:
        from ressearch import build
        from ressearch.networks.cost import input_channels

        self._network = build(architecture, input_channels(tuple(splits.train.inputs.shape[1:])), classes)
        self.is_finished, self.epoch = True, recipe.epochs

    def state(self, place: int) -> dict[str, Any]:
        """Return the weights."""
        return dict(self._network.state_dict())


def stand_in() -> None:
    """Replace what trains, in this process."""
    from ray import tune

    import ressearch.training
    from ressearch.search import estimate, runner, sharing

    tune.Tuner = StandInTuner  # type: ignore[assignment,misc]
    tune.with_parameters = tune.with_resources = lambda trainable, *given, **named: trainable  # type: ignore[assignment]
    sharing.share = lambda *given, **named: None  # type: ignore[assignment]
    runner.ray_running = lambda *given, **named: contextlib.nullcontext()  # type: ignore[assignment]
    runner.cluster_size = lambda *given: (2, 0)  # type: ignore[assignment]
    ressearch.training.Engine = StandInEngine  # type: ignore[assignment,misc]
    timed = estimate._step_seconds
    chance = random.Random(0)
    # Timing is what it is for one input in ten: a hang there would be found.
    estimate._step_seconds = lambda *given: timed(*given) if chance.random() < 0.1 else 0.01  # type: ignore[assignment]


def make_bases(bases: Path) -> None:
    """Write the study directories that are to be damaged: finished ones, and one that was interrupted."""
    import fuzz_cases

    from ressearch import Study, run

    for name, text, stop in (
        ("grid", fuzz_cases.SMALL, None),
        ("interrupted", fuzz_cases.SMALL, "2"),
        ("searched", fuzz_cases.SEARCHED, None),
        ("half", fuzz_cases.SEARCHED, "3"),
    ):
        (bases / f"{name}.yaml").write_text(text)
        if stop is not None:
            os.environ["FUZZ_STOP_AT"] = stop
        with contextlib.suppress(KeyboardInterrupt):
            run(Study.from_file(bases / f"{name}.yaml"), bases / name)
        os.environ.pop("FUZZ_STOP_AT", None)
        if stop is not None:
            (bases / name / "checkpoints").mkdir(exist_ok=True)
            (bases / name / "checkpoints" / "00002.pt").write_bytes(b"no checkpoint")
    tables = bases / "tables"
    shutil.copytree(bases / "grid", tables)
    (tables / "journal.jsonl").unlink()


def contents(root: Path) -> dict[str, bytes]:
    """Return every file under a directory with what it holds."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def is_own(path: str, arguments: list[str]) -> bool:
    """Return whether a command may change a file: `resume` its study, `report` its report."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    return path.startswith("study/") and (
        command == "resume" or (command == "report" and path.startswith("study/report/")) or path.endswith("/.lock")
    )


def meet(seed: int, index: int, bases: Path) -> dict[str, Any]:
    """Give one input to the command, in this process; returns what came of it."""
    import fuzz_cases

    from ressearch.cli import main

    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    work = place / "work"
    work.mkdir()
    case = fuzz_cases.make(random.Random(f"{seed}/{index}"), bases, work)
    before = contents(place)
    os.chdir(work)
    out, err = io.StringIO(), io.StringIO()
    began, code, problems = time.monotonic(), 0, []
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(case.arguments)
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1 if done.code else 0
    except BaseException:
        problems.append(traceback.format_exc())
    seconds = time.monotonic() - began
    lines = err.getvalue().splitlines()
    if code not in (0, 2):
        problems.append(f"exit code {code}")
    is_help = bool(lines) and lines[0].startswith("Usage: ressearch")  # a group's name alone
    if code == 2 and not is_help and not (lines and all(line.startswith("ressearch: error: ") for line in lines)):
        problems.append("an error that is not told in lines")
    if "Traceback" in out.getvalue() + err.getvalue():
        problems.append("a traceback")
    after = contents(place)
    for path, data in before.items():
        if after.get(path) != data and not is_own(path.removeprefix("work/"), case.arguments):
            problems.append(f"{path} is not what it was")
    problems += [f"{path} was written outside" for path in after if not path.startswith("work/")]
    os.chdir(bases)
    shutil.rmtree(place, ignore_errors=True)
    said = (err.getvalue() or out.getvalue())[-600:]
    if code == 70 and Path(details := said.split()[-1]).is_file():
        said = Path(details).read_text(encoding="utf-8")[-1500:]
    return {"index": index, "code": code, "seconds": seconds, "problems": problems, "said": said, **case._asdict()}


def work() -> None:
    """Meet the inputs that stdin names, one per line; told on the stream that stdout was."""
    told = os.fdopen(os.dup(1), "w", buffering=1)
    bases, seed = Path(os.environ["FUZZ_BASES"]), int(os.environ["FUZZ_SEED"])
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stand_in()
    if not any(bases.iterdir()):
        make_bases(bases)
    told.write("ready\n")
    for line in sys.stdin:
        told.write(json.dumps(meet(seed, int(line), bases), default=str) + "\n")


class Worker:
    """A process that meets inputs, and what it is at."""

    command = (sys.executable, __file__, "--worker")

    def __init__(self, home: Path, bases: Path, seed: int) -> None:
        self._environment = {
            **os.environ,
            "FUZZ_BASES": str(bases),
            "FUZZ_SEED": str(seed),
            "RESSEARCH_CACHE": str(home / "cache"),
            "HF_HUB_OFFLINE": "1",
            "TMPDIR": str(home),
            "OMP_NUM_THREADS": "1",
        }
        self._log = home / f"log-{id(self)}"
        self.index: int | None = None
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it can be given inputs."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("a"),
            text=True,
            env=self._environment,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"a worker does not start:\n{self._log.read_text()[-3000:]}")

    def give(self, index: int) -> None:
        """Give it an input."""
        assert self.process.stdin is not None
        self.index, self.since = index, time.monotonic()
        self.process.stdin.write(f"{index}\n")
        self.process.stdin.flush()

    def log(self) -> str:
        """Return what it last wrote to stderr."""
        return self._log.read_text(errors="replace")[-1500:]

    def end(self) -> int:
        """End the process; returns how it ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()


def fuzz(inputs: int, seed: int, jobs: int = 2, only: int | None = None) -> dict[str, Any]:
    """Meet many inputs; returns how many ended in which way, and every failure with what makes it again."""
    with tempfile.TemporaryDirectory(prefix="ressearch-fuzz-") as name:
        home = Path(name)
        bases = home / "bases"
        bases.mkdir()
        first = Worker(home, bases, seed)
        workers = [first, *(Worker(home, bases, seed) for _ in range(min(jobs, inputs) - 1))]
        try:
            results = _meet_all(workers, iter([only] if only is not None else range(inputs)))
        finally:
            for worker in workers:
                worker.end()
    commands = collections.Counter(f"{_command(one)} {one['code']}" for one in results)
    return {
        "seed": seed,
        "inputs": len(results),
        "exit_codes": dict(collections.Counter(str(one["code"]) for one in results)),
        "commands": dict(sorted(commands.items())),
        "slowest_seconds": round(max(one["seconds"] for one in results), 1),
        "failures": [one for one in results if one["problems"]],
        "results": results,
    }


def _command(result: dict[str, Any]) -> str:
    first = result["arguments"][0] if result["arguments"] else ""
    return first if first.isalpha() and len(first) < 10 else "other"


def _meet_all(workers: list[Worker], indices: Any) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    waiting = selectors.DefaultSelector()

    def next_input(worker: Worker) -> bool:
        index = next(indices, None)
        if index is None:
            return False
        worker.give(index)
        waiting.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        return True

    at_work = [worker for worker in workers if next_input(worker)]
    while at_work:
        ready = {key.data for key, _ in waiting.select(timeout=0.5)}
        for worker in list(at_work):
            is_late = time.monotonic() - worker.since > LIMIT
            if worker not in ready and not is_late:
                continue
            stream = worker.process.stdout
            assert stream is not None
            waiting.unregister(stream)
            line = stream.readline() if worker in ready else ""
            if line:
                result = json.loads(line)
                if result["seconds"] > LIMIT:
                    result["problems"].append(f"longer than {LIMIT:g} s")
            else:
                ended = worker.end()
                problem = (
                    f"longer than {LIMIT:g} s" if worker not in ready else f"the process died: {ended} {worker.log()}"
                )
                result = {"index": worker.index, "code": None, "seconds": time.monotonic() - worker.since}
                result |= {"problems": [problem], "said": "", "arguments": [], "note": ""}
                worker.start()
            results.append(result)
            if result["problems"]:
                print(f"input {result['index']}: {'; '.join(result['problems'])}\n  {result['note']}: "
                      f"{result['arguments']}\n  {result['said'].strip()}", flush=True)  # fmt: skip
            if not next_input(worker):
                at_work.remove(worker)
    return results


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, help="[a fresh one]")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int, metavar="INDEX", help="Meet one input again and print what it said.")
    parser.add_argument("--save", action="store_true", help="Write results/fuzz.json.")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work()
        return
    seed = given.seed if given.seed is not None else secrets.randbelow(2**32)
    print(f"seed {seed}; one input again: python benchmarks/fuzz.py --seed {seed} --only INDEX", flush=True)
    began = time.monotonic()
    found = fuzz(1 if given.only is not None else given.inputs, seed, given.jobs, given.only)
    for one in found.pop("results") if given.only is not None else ():
        print(json.dumps(one, indent=2))
    found.pop("results", None)
    found["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(json.dumps({**found, "failures": len(found["failures"])}, indent=2))
    if given.save:
        from common import save

        save("fuzz", found)
    sys.exit(bool(found["failures"]))


if __name__ == "__main__":
    main()
