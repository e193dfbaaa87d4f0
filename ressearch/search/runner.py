"""The runner: carries a study out with Ray Tune and writes its directory.

A study directory holds `study.yaml` (the file, verbatim), `run.json` (versions, machine, process, what was
overridden), the journal and both Parquet tables (`ressearch.results`).
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import logging
import math
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ressearch.cost import cost
from ressearch.errors import ResourceError, StudyError
from ressearch.results.store import RUN_FILE, STUDY_FILE, Store, write_run
from ressearch.search.monitor import Monitor
from ressearch.search.schedulers import SCHEDULERS
from ressearch.search.study import OBJECTIVES, Study

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Results are kept in our own journal; Tune's loggers and frequent snapshots would only write them again.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    # A diverged or failed trial ends with a result that has no metric.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def available_cpus() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(study: Study) -> tuple[float, float, int]:
    """Return (CPU cores, GPUs) of a trial and how many trials run at once on this machine.

    Raises ResourceError if a trial asks for more than there is.
    """
    cpus, gpus = available_cpus(), torch.cuda.device_count()
    resources = study.resources
    gpus_per_trial = resources.gpus_per_trial
    if gpus_per_trial is None:
        gpus_per_trial = pack(study, torch.cuda.get_device_properties(0).total_memory) if gpus else 0.0
    for key, asked, there in (
        ("cpus_per_trial", resources.cpus_per_trial, cpus),
        ("gpus_per_trial", gpus_per_trial, gpus),
    ):
        if asked > there:
            name = "GPUs" if key.startswith("gpu") else "CPU cores"
            place = study.place("resources", key)
            raise ResourceError(f"{place}: {asked:g} {name} a trial, but this machine has {there}")
    if 1 < gpus_per_trial != int(gpus_per_trial):
        place = study.place("resources", "gpus_per_trial")
        raise ResourceError(f"{place}: {gpus_per_trial:g} is neither a fraction below 1 nor a whole number")
    at_once = math.floor(cpus / resources.cpus_per_trial + 1e-9)
    if gpus_per_trial:
        per_gpu = math.floor(1 / gpus_per_trial + 1e-9) if gpus_per_trial <= 1 else 0
        at_once = min(at_once, gpus * per_gpu if per_gpu else gpus // int(gpus_per_trial))
    return resources.cpus_per_trial, gpus_per_trial, min(at_once, resources.concurrency or at_once)


_CONTEXT = 700 * 2**20
"""Bytes of GPU memory that a process needs besides its tensors."""
_SLACK = 2.0
"""How much more than the lower bound a trial is given."""
_MOST_A_GPU = 16


def pack(study: Study, gpu_memory: int) -> float:
    """Return the share of a GPU that a trial needs, so that as many run on one as its memory holds.

    The dearest of some networks of the space decides, by the lower bound on training memory that its cost gives.

    Args:
        study: whose trials.
        gpu_memory: bytes of one GPU.
    """
    recipe, space = study.recipe, study.search_space
    states = 1 if recipe.optimizer == "sgd" else 2
    width = {"float64": 8, "float32": 4}.get(recipe.precision, 2)
    need = max(
        cost(one, space.input_shape, space.num_classes).training_memory(recipe.batch_size, states, width)
        for one in space.sample(200, study.seed)
    )
    a_trial = _SLACK * need * len(recipe.seeds) + _CONTEXT
    return 1 / max(1, min(_MOST_A_GPU, int(gpu_memory / a_trial)))


def run(study: Study, directory: Path, monitor: Monitor | None = None) -> Path:
    """Carry `study` out into `directory`; see `Study.run`."""
    cpus, gpus, concurrency = share(study)
    _claim(directory)
    (directory / STUDY_FILE).write_text(study.text, encoding="utf-8")
    record = _describe(study, cpus, gpus, concurrency)
    write_run(directory, record)
    store = Store(directory)
    monitor = monitor or Monitor()
    try:
        with monitor.watching(study, directory, concurrency), _ray():
            interrupted = _tune(study, directory, store, monitor, cpus, gpus, concurrency)
    finally:
        _end_open_trials(store)
        store.close()
        shutil.rmtree(directory / ".tune", ignore_errors=True)
        write_run(directory, {**record, "ended_at": _utc()})
    if interrupted:
        raise KeyboardInterrupt
    return directory


def _claim(directory: Path) -> None:
    """Make the directory ours. Raises StudyError if something is in it."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        holds = "holds a study already" if (directory / RUN_FILE).is_file() else "is not empty"
        raise StudyError(
            f"{directory}: {holds}; nothing was overwritten: name another directory with --out, "
            "or remove this one (`ressearch status` and `report` read it as it is)"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"{directory}: cannot be made: {(error.strerror or str(error)).lower()}") from None


@contextlib.contextmanager
def _ray() -> Iterator[None]:
    """Have Ray running: as the caller started it, else started and ended here."""
    import ray

    if ray.is_initialized():
        yield
        return
    start_ray()
    try:
        yield
    finally:
        ray.shutdown()


def start_ray() -> None:
    """Start Ray on this machine alone, without dashboard or usage statistics."""
    os.environ.update({key: value for key, value in _ENVIRONMENT.items() if key not in os.environ})
    import ray

    for name in ("ray", "ray.tune"):  # a trial that fails is recorded with its reason; no traceback besides
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ray.init(
        address="local",
        num_cpus=available_cpus(),
        num_gpus=torch.cuda.device_count(),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        object_store_memory=256 * 1024**2,
        _node_ip_address="127.0.0.1",
    )


def _tune(
    study: Study, directory: Path, store: Store, monitor: Monitor, cpus: float, gpus: float, concurrency: int
) -> bool:
    """Run Tune to the end. Returns whether the user interrupted it."""
    from ray import tune

    from ressearch.search.proposer import Proposer
    from ressearch.search.recorder import Recorder
    from ressearch.search.trial import TrialSpec, TrialTrainable, to_arrays

    spec = TrialSpec(study.recipe, threads=max(1, round(cpus)), classes=len(study.dataset.classes))
    data = to_arrays(study.splits())
    objective = study.search.objective[0]
    chosen = study.search.scheduler
    scheduler = SCHEDULERS[chosen.name](objective, OBJECTIVES[objective], study.recipe.epochs, **chosen.options)
    trainable = tune.with_resources(
        tune.with_parameters(TrialTrainable, spec=spec, data=data), {"cpu": cpus, "gpu": gpus}
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=Proposer(study),
            scheduler=scheduler,
            num_samples=study.planned_trials,
            max_concurrent_trials=concurrency,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str((directory / ".tune").resolve()),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[Recorder(study, store, monitor, devices=gpus or cpus)],
            verbose=0,
        ),
    )
    tuner.fit()
    return any(row["status"] == "running" for row in store.tables.trials.values())


def _end_open_trials(store: Store) -> None:
    for number, row in list(store.tables.trials.items()):
        if row["status"] == "running":
            store.end(number, "interrupted", f"the study was stopped after epoch {row['epochs']}")


def _describe(study: Study, cpus: float, gpus: float, concurrency: int) -> dict[str, Any]:
    packages = ("torch", "ray", "optuna", "pandas", "numpy", "scikit-learn")
    return {
        "name": study.name,
        "question": study.question,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "overrides": study.overrides,
        "study": study.model_dump(mode="json"),
        "planned_trials": study.planned_trials,
        "refused_points": dict(study.search_space.refusals()) if study.space.form == "grid" else {},
        "split_fingerprint": study.splits().fingerprint,
        "input_shape": list(study.dataset.input_shape),
        "num_classes": len(study.dataset.classes),
        "data_source": study.dataset.source,
        "examples": {part: len(getattr(study.splits(), part)) for part in ("train", "validation", "test")},
        "concurrency": concurrency,
        "cpus_per_trial": cpus,
        "gpus_per_trial": gpus,
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
