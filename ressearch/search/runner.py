"""The runner: carries a study out with Ray Tune and writes its directory.

A study directory holds `study.yaml` (the file, verbatim), `run.json` (versions, machine, process, what was
overridden), the journal and both Parquet tables (`ressearch.results`), Optuna's storage and, while trials train, their
checkpoints. The journal is the record: `resume` makes everything else from it (see `ressearch.search.proposer` for why
Tune's own restore is not used).
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import torch

from ressearch.errors import StudyError
from ressearch.results.storage import CHECKPOINTS, Mirror, is_url
from ressearch.results.store import (
    JOURNAL,
    RUN_FILE,
    STUDY_FILE,
    TRIALS_FILE,
    Store,
    read_run,
    require_study,
    write_run,
)
from ressearch.search.callbacks import callbacks
from ressearch.search.choices import put_back, repeated
from ressearch.search.cluster import available, cluster_size, ray_running
from ressearch.search.estimate import known_networks
from ressearch.search.memory import price, require_fit
from ressearch.search.monitor import Monitor
from ressearch.search.phases import Phase, phases
from ressearch.search.resources import Slots, available_cpus, trial_resources
from ressearch.search.storages import require_storage
from ressearch.search.study import Study

LOCK_FILE = ".lock"

_RESTARTS = 3
"""How often a trial whose process was lost goes on from its checkpoint before it counts as failed."""


def run(
    study: Study,
    out: str | Path,
    monitor: Monitor | None = None,
    address: str | None = None,
    repeat: str | Path | None = None,
) -> str | Path:
    """Carry `study` out into a directory or URL; see `Study.run`."""
    further = {"repeats": str(repeat), "choices": repeated(repeat, study)} if repeat is not None else {}
    study.require_data()
    _require_resources(study, address)
    require_storage(study)
    if not is_url(out):
        return _run(study, Path(out), monitor, address, further=further)
    mirror = Mirror(str(out))
    mirror.require_empty()
    with mirror.owned():
        mirror.require_empty()
        _run(study, mirror.local, monitor, address, mirror, further)
    return out


def _require_resources(study: Study, address: str | None) -> None:
    """Refuse what this machine, or the cluster at an address, cannot do, before anything is written."""
    if address is None:
        require_fit(study, price(study, known_networks(study)[0]), trial_resources(study))
    else:
        trial_resources(study, *available(address))


def _run(
    study: Study,
    directory: Path,
    monitor: Monitor | None,
    address: str | None,
    mirror: Mirror | None = None,
    further: Mapping[str, Any] | None = None,
) -> Path:
    _claim(directory)
    with _locked(directory):
        (directory / STUDY_FILE).write_text(study.text, encoding="utf-8")
        return _carry_out(study, directory, {**_describe(study), **(further or {})}, monitor, address, mirror)


def resume(directory: str | Path, monitor: Monitor | None = None, address: str | None = None) -> str | Path:
    """Go on with a study that ended early, whatever ended it, until it has run as many trials as it planned.

    Trials that ended are kept; those that were training go on from their last checkpoint, at most the epoch in flight
    is trained again; the sampler knows all that came before. A study that has ended is left as it is.

    Args:
        directory: the study directory, or its URL.
        monitor: is told of every event; None is silent.
        address: of a running Ray cluster; None uses this machine.

    Raises:
        StudyError: the directory holds no study, is damaged, or another process works on it.
        ResourceError: a trial asks for more than the machine has.
    """
    if not is_url(directory):
        return _resume(Path(directory), directory, monitor, address)
    mirror = Mirror(str(directory))
    mirror.require_some()
    with mirror.owned():
        return _resume(mirror.pull(), directory, monitor, address, mirror)


def _resume(
    path: Path, directory: str | Path, monitor: Monitor | None, address: str | None, mirror: Mirror | None = None
) -> str | Path:
    """Go on with the study in `path`, which the user calls `directory`."""
    require_study(path, directory)
    record = read_run(path)
    if record.get("is_complete"):
        return directory
    if not (path / JOURNAL).is_file() and (path / TRIALS_FILE).is_file():
        raise StudyError(f"{directory}: holds the tables of a study alone; without {JOURNAL} it cannot go on")
    study = Study.from_directory(path)
    study.require_data()
    _require_resources(study, address)
    with _locked(path):
        record.setdefault("resumed_at", []).append(_utc())
        record.update(host=socket.gethostname(), pid=os.getpid(), ended_at=None)
        _carry_out(study, path, record, monitor, address, mirror)
    return directory


def _carry_out(
    study: Study,
    directory: Path,
    record: dict[str, Any],
    monitor: Monitor | None,
    address: str | None,
    mirror: Mirror | None = None,
) -> Path:
    """Run what is missing of a study's phases. The directory is ours."""
    store = Store(directory, mirror)
    monitor = monitor or Monitor()
    failure: str | None = None
    interrupted, ran_through = False, False
    write_run(directory, record)
    put_back(store, record, _checkpoints(directory, store))
    try:
        with monitor.watching(study, directory), ray_running(address):
            slots = trial_resources(study, *cluster_size(address))
            record.update(concurrency=slots.concurrency, cpus_per_trial=slots.cpus, gpus_per_trial=slots.gpus)
            write_run(directory, record)
            monitor.begins(store.tables.trials, slots.concurrency)
            for phase in phases(study, store, directory):
                failure, interrupted = _tune(study, phase, directory, store, monitor, slots)
                if failure or interrupted:
                    break
            ran_through = not (failure or interrupted)
    finally:
        _end_open_trials(store)
        store.close()
        shutil.rmtree(directory / ".tune", ignore_errors=True)
        with contextlib.suppress(OSError):
            ended = {"ended_at": _utc(), "active_seconds": store.active_seconds, "is_complete": ran_through}
            write_run(directory, {**record, **ended})
            if mirror is not None:
                mirror.finish()
    if failure is not None:
        raise StudyError(f"{directory}: {failure}; what was done is kept: `ressearch resume {directory}` goes on")
    if interrupted:
        raise KeyboardInterrupt
    shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)
    if mirror is not None:
        mirror.remove_checkpoints()
    return directory


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory against other processes; the lock ends with this one, however it ends."""
    lock = filelock.FileLock(directory / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise StudyError(f"{directory}: another process works on this study; wait for it, or end it first") from None
    try:
        yield
    finally:
        lock.release()


def _claim(directory: Path) -> None:
    """Make the directory ours. Raises StudyError if something is in it."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        holds = "holds a study already" if (directory / RUN_FILE).is_file() else "is not empty"
        further = f"`ressearch resume {directory}` goes on with it, " if holds.startswith("holds") else ""
        raise StudyError(
            f"{directory}: {holds}; nothing was overwritten: {further}--out names another directory, "
            "`ressearch status` and `report` read this one as it is"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"{directory}: cannot be made: {(error.strerror or str(error)).lower()}") from None


def _tune(
    study: Study, phase: Phase, directory: Path, store: Store, monitor: Monitor, slots: Slots
) -> tuple[str | None, bool]:
    """Run one phase with Tune to its end. Returns why it failed, if it did, and whether the user interrupted it."""
    from ray import tune

    from ressearch.search.ledger import Ledger
    from ressearch.search.recorder import Recorder
    from ressearch.search.sharing import share
    from ressearch.search.trial import TrialSpec, TrialTrainable

    ledger = Ledger(study, store, phase.name)
    if ledger.spent is not None:
        return None, False
    spec = TrialSpec(
        phase.recipe,
        threads=max(1, round(slots.cpus)),
        classes=len(study.dataset.classes),
        gpus=slots.gpus,
        checkpoints=_checkpoints(directory, store),
        time_limit=study.resources.trial_time_limit,
        is_final=phase.is_final,
    )
    data = share(study.splits(), with_test=phase.is_final)
    trainable = tune.with_resources(
        tune.with_parameters(TrialTrainable, spec=spec, data=data), {"cpu": slots.cpus, "gpu": slots.gpus}
    )
    monitor.phase(phase.name, phase.trials)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=phase.searcher,
            scheduler=phase.scheduler,
            num_samples=phase.trials,
            # A scheduler that pauses trials needs to start others meanwhile: the cores alone bound how many run.
            max_concurrent_trials=slots.concurrency if phase.at_once is None else None,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=phase.name,
            storage_path=str((directory / ".tune").resolve()),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=_RESTARTS),
            stop=ledger,
            callbacks=[
                Recorder(study, phase.recipe, store, ledger, monitor, slots.gpus or slots.cpus, phase.name),
                *callbacks(study, directory),
            ],
            verbose=0,
        ),
    )
    with _pending(phase.at_once):
        tuner.fit()
    left = [row for row in store.tables.trials.values() if row["status"] == "running"]
    if ledger.spent is not None:
        for row in left:
            store.end(row["trial"], "stopped", f"{ledger.spent}, after epoch {row['epochs']}")
        left = []
    return ledger.failing, bool(left)


def _checkpoints(directory: Path, store: Store) -> str:
    return f"{store.mirror.url if store.mirror else directory.resolve()}/{CHECKPOINTS}"


@contextlib.contextmanager
def _pending(at_once: int | None) -> Iterator[None]:
    """Have Tune ask for so many trials ahead; None lets it decide (one, for a searcher)."""
    key = "TUNE_MAX_PENDING_TRIALS_PG"
    if at_once is None or key in os.environ:
        yield
        return
    os.environ[key] = str(at_once)
    try:
        yield
    finally:
        del os.environ[key]


def _end_open_trials(store: Store) -> None:
    for number, row in list(store.tables.trials.items()):
        if row["status"] == "running":
            store.end(number, "interrupted", f"the study was stopped after epoch {row['epochs']}")


def _describe(study: Study) -> dict[str, Any]:
    packages = ("torch", "ray", "optuna", "pandas", "numpy", "scikit-learn")
    return {
        "name": study.name,
        "question": study.question,
        "command": shlex.join([Path(sys.argv[0]).name.replace("cli.py", "ressearch"), *sys.argv[1:]]),
        "overrides": study.overrides,
        "study": study.model_dump(mode="json"),
        "planned_trials": study.planned_trials,
        "refused_points": dict(study.search_space.refusals()) if study.space.form == "grid" else {},
        "split_fingerprint": study.splits().fingerprint,
        "input_shape": list(study.dataset.input_shape),
        "num_classes": len(study.dataset.classes),
        "data_source": study.dataset.source,
        "class_counts": dict(zip(study.dataset.classes, study.dataset.labels.bincount().tolist(), strict=True)),
        "memory": study.dataset.memory,
        "examples": study.examples,
        "concurrency": None,
        "cpus_per_trial": None,
        "gpus_per_trial": None,
        "versions": {
            "ressearch": importlib.metadata.version("ressearch"),
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in packages},
        },
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu_cores": available_cpus(),
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        },
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started_at": _utc(),
        "ended_at": None,
    }


def _utc() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
