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
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import torch

from ressearch import durable, registry, signals
from ressearch.data import AUGMENTATIONS, Dataset
from ressearch.errors import DataError, StudyError
from ressearch.networks.blocks import BLOCKS
from ressearch.networks.shortcuts import SHORTCUTS
from ressearch.networks.skips import SKIPS
from ressearch.networks.stems import STEMS
from ressearch.plugins import keep, load_shipped, modules
from ressearch.remote import describe
from ressearch.results.progress import progress
from ressearch.results.run_file import LOCK_FILE, RUN_FILE, STUDY_FILE, read_run, require_study, write_run
from ressearch.results.schema import is_open
from ressearch.results.status import Status
from ressearch.results.storage import CHECKPOINTS, Mirror, is_url
from ressearch.results.store import Store, read_tables
from ressearch.search import changes
from ressearch.search.choices import put_back, repeated
from ressearch.search.cluster import available, cluster_size, ray_running
from ressearch.search.estimate import known_networks
from ressearch.search.initial import require_weights_fit
from ressearch.search.loggers import callbacks
from ressearch.search.memory import price, require_fit
from ressearch.search.monitor import Monitor
from ressearch.search.phases import Phase, phases
from ressearch.search.resources import Slots, available_cpus, trial_resources
from ressearch.search.storages import require_storage
from ressearch.search.study import Study
from ressearch.search.weights import Keeper, keeping
from ressearch.version import __version__

_RECORD = 2
"""The version of the record: since 2 it says what each phase planned and why it ended."""

_LOCK_PATIENCE = 1.0
"""Seconds: `status` holds the lock for an instant, to see whether anybody else does."""

_RESTARTS = 3
"""How often a trial whose process was lost goes on from its checkpoint before it counts as failed."""


def run(
    study: Study | str | Path,
    out: str | Path | None = None,
    monitor: Monitor | None = None,
    address: str | None = None,
    repeat: str | Path | None = None,
    data: Dataset | None = None,
) -> str | Path:
    """Run a study; returns its directory, which `ressearch.load`, `report` and `pick` read.

    Args:
        study: what to run: a Study, or the path of a study file.
        out: the directory to write [``runs/NAME``], or a URL that fsspec knows; must not hold a study.
        monitor: is told of every event; None is silent.
        address: of a running Ray cluster; None uses this machine.
        repeat: the directory of an earlier run of this study: its networks run as they ran there (grouping and
            memory layout, which else are measured), so that on a CPU of the same kind their numbers are the same.
        data: a data set in memory, in the place of the study's (`ressearch.data.from_arrays`).

    Raises:
        StudyError: the data are not on this machine, or `out` holds something already, or cannot be written, or
            too many trials failed, or what `repeat` holds cannot be repeated.
        ResourceError: a trial asks for more than the machine has.
    """
    if isinstance(study, str | Path):
        study = Study.from_file(study)
    load_shipped(study.loaded_plugins)  # another study's plugin of the same name may have been loaded since
    study = study if data is None else study.with_data(_require_dataset(data))
    study.require_as_read()
    out = out if out is not None else Path("runs") / study.name
    _require_known_elsewhere(study)
    further = {"repeats": str(repeat), "choices": repeated(repeat, study)} if repeat is not None else {}
    study.require_data()
    require_weights_fit(study)
    _require_resources(study, address)
    require_storage(study.search.storage, study.name, study.place("search", "storage"))
    if not is_url(out):
        return _run(study, Path(out), monitor, address, further=further)
    mirror = Mirror(str(out))
    mirror.require_empty()
    with mirror.owned():
        mirror.require_empty()
        _run(study, mirror.local, monitor, address, mirror, further)
    return out


def _require_dataset(data: Any) -> Dataset:
    """Raise DataError for what is no data set."""
    if not isinstance(data, Dataset):
        what = type(data).__name__
        raise DataError(
            f"data: a {what} is no data set; expected what ressearch.data.from_arrays(inputs, labels) returns"
        )
    return data


def _require_known_elsewhere(study: Study) -> None:
    """Raise StudyError if a network, a data set or an augmentation is known to this process alone."""
    named = set(_words([study.stated.get("space"), study.recipe.augmentation]))
    known = {registry.OWN, *registry.installed(), *(plugin.name for plugin in study.loaded_plugins)}
    for kind in (BLOCKS, SKIPS, SHORTCUTS, STEMS, AUGMENTATIONS):
        for entry in kind.entries():
            if entry.name in named and entry.source not in known:
                where = "this process" if entry.source == "__main__" else entry.source
                raise StudyError(
                    f"{kind.kind}: '{entry.name}' comes from {where}, which the processes that train do not know: put "
                    "it into a file or module and name that in the study's `plugins`"
                )


def _words(value: Any) -> Iterator[str]:
    """Yield every text in nested lists and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _words([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _words(one)


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
    name = mirror.url if mirror else str(directory)
    with signals.held(name):
        _claim(directory, study)
        with _locked(directory):
            record = {**_describe(study), **(further or {})}
            with _writing(directory):
                durable.replace_text(directory / STUDY_FILE, study.text)
                keep(study.loaded_plugins, directory)
                write_run(directory, record)
            return _carry_out(study, directory, record, monitor, address, mirror)


def resume(
    directory: str | Path,
    monitor: Monitor | None = None,
    address: str | None = None,
    accept_changes: bool = False,
    allow_plugins: bool = False,
    data: Dataset | None = None,
) -> str | Path:
    """Continue a study that ended early, for whatever reason, until each of its planned trials has ended.

    Trials that ended are kept; those that were training go on from their last checkpoint, at most the epoch in flight
    is trained again; the sampler knows all that came before. A study that is complete is left as it is.

    Args:
        directory: the study directory, or its URL.
        monitor: is told of every event; None is silent.
        address: of a running Ray cluster; None uses this machine.
        accept_changes: go on with a study file that was changed, where the change only extends the study: more trials,
            more finalists, a larger budget, other resources.
        allow_plugins: run the plugins that the study was begun with, from its directory; they are code.
        data: the study's data set, if it was one in memory.

    Raises:
        PluginError: the study needs plugins that are not allowed to run, or are missing, or were changed.
        StudyError: the directory holds no study or a damaged one, another process works on it, or its file was changed.
        ResourceError: a trial asks for more than the machine has.
    """
    if not is_url(directory):
        return _resume(Path(directory), directory, monitor, address, accept_changes, allow_plugins, data)
    mirror = Mirror(str(directory))
    mirror.require_some()
    with mirror.owned():
        return _resume(mirror.pull(), directory, monitor, address, accept_changes, allow_plugins, data, mirror)


def _resume(
    path: Path,
    directory: str | Path,
    monitor: Monitor | None,
    address: str | None,
    accept_changes: bool,
    allow_plugins: bool,
    data: Dataset | None,
    mirror: Mirror | None = None,
) -> str | Path:
    """Go on with the study in `path`, which the user calls `directory`."""
    if data is not None:
        _require_dataset(data)
    require_study(path, directory)
    if _is_complete(path):
        return directory
    study = Study.from_directory(path, allow_plugins, data, directory)
    study.require_data()
    _require_resources(study, address)
    with signals.held(str(directory)), _locked(path):
        record = read_run(path)  # another process may have gone on meanwhile
        found = changes.changes_of(study, study.stated, record)
        changes.accept(study, found, read_tables(path)[0], accept_changes, directory)
        changes.require_same_data(study, record, directory)
        record.setdefault("resumed_at", []).append(_utc())
        record.update(host=socket.gethostname(), pid=os.getpid(), ended_at=None, is_complete=False, record=_RECORD)
        _carry_out(study, path, record, monitor, address, mirror, found)
    return directory


def _is_complete(path: Path) -> bool:
    """Return whether nothing is left to do: every planned trial has ended, and the study file asks for no more."""
    record = read_run(path)
    if not progress(record, read_tables(path)[0]).is_complete:
        return False
    try:
        return not changes.changes_of_file(path, record)
    except StudyError:  # the file is of an older version, or gone: what it asked for is on record
        return True


def _carry_out(
    study: Study,
    directory: Path,
    record: dict[str, Any],
    monitor: Monitor | None,
    address: str | None,
    mirror: Mirror | None = None,
    changed: Sequence[changes.Change] = (),
) -> Path:
    """Run what is missing of a study's phases. The directory is ours."""
    name = mirror.url if mirror else str(directory)
    with _writing(directory):
        store = Store(directory, mirror)
        for change in changed:
            store.change(*change)
        record.update(study=study.model_dump(mode="json"), stated=study.stated, planned_trials=study.planned_trials)
        write_run(directory, record)
    failure: str | None = None
    keeper = Keeper(study, store, _seen_by_trials(directory, store))
    try:
        put_back(store, record, _checkpoints(directory, store))
        failure = _run_phases(study, directory, record, store, monitor or Monitor(), address, keeper)
    finally:
        _end_open_trials(store)
        store.close()
        shutil.rmtree(directory / ".tune", ignore_errors=True)
        is_complete = progress(record, store.tables).is_complete
        keeper.tidy(is_over=is_complete)
        if keeper.problems:
            record["weights_not_kept"] = {**record.get("weights_not_kept", {}), **keeper.problems}
        with contextlib.suppress(OSError):
            ended = {"ended_at": _utc(), "active_seconds": store.active_seconds, "is_complete": is_complete}
            write_run(directory, {**record, **ended})
            if mirror is not None:
                mirror.finish()
    if failure is not None:
        raise StudyError(f"{directory}: {failure}; what was done is kept: `ressearch resume {name}` goes on")
    if not is_complete:
        raise signals.Interrupted(signals.asked() or signal.SIGINT, name)
    shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)
    if mirror is not None:
        mirror.remove_checkpoints()
    return directory


def _run_phases(
    study: Study,
    directory: Path,
    record: dict[str, Any],
    store: Store,
    monitor: Monitor,
    address: str | None,
    keeper: Keeper,
) -> str | None:
    """Run the phases until one does not end. Returns why the study makes no sense any more, else None."""
    name = store.mirror.url if store.mirror else str(directory)
    signals.stop_if_asked(name)
    with monitor.watching(study, directory), signals.kept(), ray_running(address):
        signals.stop_if_asked(name)
        slots = trial_resources(study, *cluster_size(address))
        record.update(concurrency=slots.concurrency, cpus_per_trial=slots.cpus, gpus_per_trial=slots.gpus)
        write_run(directory, record)
        monitor.begins(store.tables.trials, slots.concurrency)
        for phase in phases(study, store, directory):
            signals.stop_if_asked(name)
            failure = _tune(study, phase, directory, store, monitor, slots, keeper)
            if failure is not None or phase.name in progress(record, store.tables).missing:
                return failure
    return None


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Say in one line that a study directory cannot be written."""
    try:
        yield
    except OSError as error:
        raise StudyError(f"{directory}: cannot be written: {(error.strerror or str(error)).lower()}") from None


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the directory against other processes; the lock ends with this one, however it ends."""
    lock = filelock.FileLock(directory / LOCK_FILE)
    with _writing(directory):
        try:
            lock.acquire(timeout=_LOCK_PATIENCE)
        except filelock.Timeout:
            text = f"{directory}: another process works on this study; wait for it, or end it first"
            raise StudyError(text) from None
    try:
        yield
    finally:
        lock.release()


def _claim(directory: Path, study: Study) -> None:
    """Make the directory ours. Raises StudyError if something is in it, unless a run left it before it began."""
    if directory.exists() and (not directory.is_dir() or not _is_untouched(directory, study)):
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


def _is_untouched(directory: Path, study: Study) -> bool:
    """Return whether a directory is empty, or holds what a run of this study writes before it begins."""
    for file in directory.iterdir():
        is_same = file.name == STUDY_FILE and file.is_file() and file.read_bytes() == study.text.encode()
        if not is_same and file.name != LOCK_FILE and not file.name.endswith(".part"):
            return False
    return True


def _tune(
    study: Study, phase: Phase, directory: Path, store: Store, monitor: Monitor, slots: Slots, keeper: Keeper
) -> str | None:
    """Run one phase with Tune until it ends or is to end. Returns why it failed, if it did."""
    import ray.exceptions
    from ray import tune
    from ray.tune.stopper import CombinedStopper

    from ressearch.search.latency import measures_latency
    from ressearch.search.ledger import Ledger
    from ressearch.search.recorder import Recorder
    from ressearch.search.sharing import share
    from ressearch.search.stopping import Asked, Noted
    from ressearch.search.trial import TrialSpec, TrialTrainable

    ledger = Ledger(study, store, phase.name)
    if ledger.spent is not None:
        _end_spent(store, phase, ledger.spent)
        return None
    searcher = Noted(phase.searcher)
    spec = TrialSpec(
        phase.recipe,
        threads=max(1, round(slots.cpus)),
        classes=len(study.dataset.classes),
        gpus=slots.gpus,
        checkpoints=_checkpoints(directory, store),
        time_limit=study.resources.trial_time_limit,
        is_final=phase.is_final,
        plugins=study.loaded_plugins,
        measures_latency=measures_latency(study),
        init=study.initial_weights,
        keeping=keeping(study, _seen_by_trials(directory, store), phase.name),
    )
    data = share(study.splits(), with_test=phase.is_final)
    trainable = tune.with_resources(
        tune.with_parameters(TrialTrainable, spec=spec, data=data), {"cpu": slots.cpus, "gpu": slots.gpus}
    )
    for module in modules():
        ray.cloudpickle.register_pickle_by_value(module)
    monitor.phase(phase.name, phase.trials)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
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
            stop=CombinedStopper(ledger, Asked()),
            callbacks=[
                Recorder(study, phase.recipe, store, ledger, monitor, slots.gpus or slots.cpus, phase.name, keeper),
                *callbacks(study.loggers, study.name, directory),
            ],
            verbose=0,
        ),
    )
    try:
        with _pending(phase.at_once), signals.noted():
            tuner.fit()
    except ray.exceptions.RayError as error:
        return f"Ray's node ended ({describe(error)[:200]})"
    if ledger.spent is not None:
        _end_spent(store, phase, ledger.spent)
    elif searcher.has_ended(store) and phase.name == "search":
        store.finish("search", "the space holds no further network")
    return ledger.failing


def _end_spent(store: Store, phase: Phase, reason: str) -> None:
    """Record that a phase's budget is spent: its open trials have ended too."""
    for row in list(store.tables.trials.values()):
        if row["phase"] == phase.name and is_open(row):
            store.end(row["trial"], Status.STOPPED, f"{reason}, after epoch {row['epochs']}")
    store.finish(phase.name, reason)


def _seen_by_trials(directory: Path, store: Store) -> str:
    """Return the study directory as the trials' processes name it."""
    return store.mirror.url if store.mirror else str(directory.resolve())


def _checkpoints(directory: Path, store: Store) -> str:
    return f"{_seen_by_trials(directory, store)}/{CHECKPOINTS}"


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
        if row["status"] == Status.RUNNING:
            store.end(number, Status.INTERRUPTED, f"the study was stopped after epoch {row['epochs']}")


def _describe(study: Study) -> dict[str, Any]:
    packages = ("torch", "ray", "optuna", "pandas", "numpy", "scikit-learn")
    return {
        "name": study.name,
        "question": study.question,
        "command": shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "ressearch"), *sys.argv[1:]]),
        "overrides": study.overrides,
        "plugins": {plugin.name: plugin.record() for plugin in study.loaded_plugins},
        "installed_plugins": registry.installed(),
        **_initial(study),
        "study": study.model_dump(mode="json"),
        "stated": study.stated,
        "planned_trials": study.planned_trials,
        "refused_points": dict(study.search_space.refusals()) if study.space.form == "grid" else {},
        "split_fingerprint": study.splits().fingerprint,
        "data_content": study.dataset.content,
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
            "ressearch": __version__,
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
        "is_complete": False,
        "record": _RECORD,
    }


def _initial(study: Study) -> dict[str, Any]:
    """Return which weights networks start from, if the recipe names some."""
    weights = study.initial_weights
    return {} if weights is None else {"init": {"file": str(Path(weights.file).resolve()), "sha256": weights.sha256}}


def _utc() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
