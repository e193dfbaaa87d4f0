"""A study's network with trained weights: those that the study kept, or trained once more where it kept none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ressearch import remote
from ressearch.data import Dataset
from ressearch.errors import StudyError, first_line, nearest
from ressearch.networks.architecture import Architecture
from ressearch.plugins import require_networks
from ressearch.results.record import TrialRecord
from ressearch.results.run_file import RUN_FILE
from ressearch.results.status import Status
from ressearch.results.storage import WEIGHTS, is_url, weights_name
from ressearch.search.again import fresh_seed, study_of
from ressearch.search.resources import trial_device
from ressearch.training.classifier import Classifier, accuracy, classifier_of, from_file, input_dtype_of

if TYPE_CHECKING:
    from ressearch.results import Results
    from ressearch.search.study import Study


@dataclass(frozen=True)
class Trained:
    """One of a study's networks, trained.

    Attributes:
        classifier: in evaluation mode, on the CPU.
        val_accuracy: on the study's validation part, after the last epoch.
        seed: that it was trained on.
        epochs: that it was trained for.
        record: of the trial whose network it is.
        source: of the trial whose weights these are: the trial itself, or the finalist that repeats it; None where it
            was trained once more.
        why: it was trained once more; None where it was not.
    """

    classifier: Classifier
    val_accuracy: float
    seed: int
    epochs: int
    record: TrialRecord
    source: TrialRecord | None = None
    why: str | None = None

    @property
    def words(self) -> str:
        """Where the weights come from, in one line."""
        if self.source is None:
            why = f" ({self.why})" if self.why else ""
            return f"trained once more on seed {self.seed}{why}: val_accuracy {self.val_accuracy:.4f}"
        finalist = "" if self.source is self.record else f" of trial {self.source.trial}, the finalist that repeats it"
        seeds = len(self.source.seeds)
        chosen = f", the best of {seeds} by val_accuracy" if seeds > 1 else ""
        return f"weights as trained{finalist} (seed {self.seed}{chosen}): val_accuracy {self.val_accuracy:.4f}"


def find_trial(place: str | Path) -> tuple[str, int | None]:
    """Return the study directory, and the trial, that ``DIRECTORY`` or ``DIRECTORY/TRIAL`` names.

    TRIAL is a trial's number, or a network's name or the beginning of one alone: of several trials of a network the
    best is taken.

    Returns the directory and None where no trial is named.

    Raises StudyError if the study has no such trial.
    """
    text = str(place).rstrip("/") or str(place)
    above, slash, asked = text.rpartition("/")
    if not is_url(text) and (not slash or Path(text).is_dir() or not (Path(above) / RUN_FILE).is_file()):
        return text, None
    if is_url(text) and (not slash or above.endswith("/") or _holds_study(text) or not _holds_study(above)):
        return text, None
    return above, _number(above, asked)


def _holds_study(url: str) -> bool:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
        return bool(system.exists(f"{path}/{RUN_FILE}"))
    except Exception:  # each file system has its own; loading the study says what is wrong
        return False


def _number(directory: str, asked: str) -> int:
    from ressearch.results import load
    from ressearch.results.ranking import Objective, ranked_table

    results = load(directory)
    trials = results.trials
    numbers = [int(one) for one in trials["trial"]]
    if asked.isdecimal():
        if int(asked) in numbers:
            return int(asked)
        raise StudyError(f"{directory}: has no trial {asked}; its trials are {min(numbers)} to {max(numbers)}")
    order = [str(name) for name in ranked_table(trials, Objective.of(results.run))["name"]]
    names = list(dict.fromkeys([*order, *map(str, trials["name"])]))
    found = [name for name in names if name == asked] or [name for name in names if name.startswith(asked)]
    if len(found) != 1:
        what = f"several networks: {', '.join(found[:5])}" if found else nearest(asked, names[:20])
        raise StudyError(f"{directory}: '{asked}' is {'the beginning of ' if found else 'no network here; '}{what}")
    ranked = ranked_table(trials, Objective.of(results.run))
    same = ranked[ranked["name"] == found[0]]
    rows = same if not same.empty else trials[trials["name"] == found[0]]
    return int(rows.iloc[0]["trial"])


def trained(
    directory: str | Path,
    trial: int,
    allow_plugins: bool = False,
    data: Dataset | None = None,
    retrain: bool = False,
    prefers_final: bool = False,
    told: Callable[[str], Any] = lambda line: None,
) -> Trained:
    """Return one of a study's networks with the weights that the study kept, or trained once more.

    Args:
        directory: a study directory or its URL.
        trial: the number of the trial whose network it is.
        allow_plugins: run the plugins that came with the study, if it has any; they are code.
        data: the study's data set, if it was one in memory; weights that were kept need none.
        retrain: train once more, whatever was kept.
        prefers_final: take the weights of the finalist that repeats the trial, if they were kept, before its own.
        told: is told in one line what is about to be trained, and why.

    Raises:
        PluginError: the study needs plugins that are not allowed to run, or are missing, or were changed.
        StudyError: the directory holds no study, or not that trial; or its training diverged.
    """
    from ressearch.results import load

    results = load(directory)
    record = _record(results, trial, directory)
    require_networks(results.directory, results.run, allow_plugins, directory)
    if retrain:
        why = "--retrain"
    else:
        finals = [one for one in _records(results) if one.phase == "final" and one.of_trial == trial]
        sources = [*finals, record] if prefers_final else [record, *finals]
        found, why = _kept(results, record, sources)
        if found is not None:
            return found
    told(f"trial {trial}, {record.name}: trains once more, for {why}" if not retrain else f"trial {trial}: trains")
    return _again(results, record, directory, allow_plugins, data, why)


def train(
    directory: str | Path, trial: int, allow_plugins: bool = False, data: Dataset | None = None
) -> tuple[Classifier, float]:
    """Train one of a study's networks once more, under its recipe and on a seed that the study has not used.

    Args and errors as in `trained`.

    Returns:
        The trained classifier, in evaluation mode, and its validation accuracy.
    """
    found = trained(directory, trial, allow_plugins, data, retrain=True)
    return found.classifier, found.val_accuracy


def read_run_of(directory: str | Path) -> dict[str, Any]:
    """Return what is known of a study's run: its `run.json`. Raises StudyError if there is none."""
    from ressearch.results.run_file import read_run
    from ressearch.results.storage import localise

    return read_run(localise(directory))


def _records(results: Results) -> list[TrialRecord]:
    rows: list[dict[str, Any]] = results.trials.to_dict("records")  # type: ignore[assignment]
    return [TrialRecord.from_row(row) for row in rows]


def _record(results: Results, trial: int, directory: str | Path) -> TrialRecord:
    for one in _records(results):
        if one.trial == trial:
            return one
    raise StudyError(f"{directory}: has no trial {trial}; its trials are 0 to {results.trials['trial'].max()}")


def _kept(results: Results, record: TrialRecord, sources: Sequence[TrialRecord]) -> tuple[Trained | None, str]:
    """Return the first of some trials whose weights were kept, or None and why there is none."""
    problems = []
    for source in sources:
        if source.status != Status.COMPLETED:
            problems.append(f"trial {source.trial} did not train to its last epoch")
            continue
        file = f"{results.source or results.directory}/{WEIGHTS}/{weights_name(source.trial)}"
        try:
            classifier, facts = from_file(_local(results, file, source.trial))
        except FileNotFoundError:
            noted = results.run.get("weights_not_kept", {}).get(str(source.trial))
            problems.append(noted or "the study kept no weights of it")
            continue
        except Exception as error:  # the bytes may be anything
            problems.append(f"{file} is damaged: {remote.describe(error)}")
            continue
        if not _agrees(source, classifier.network.architecture, facts):
            problems.append(f"{file} is not of what is on record")
            continue
        return Trained(classifier, facts["val_accuracy"], facts["seed"], source.epochs, record, source), ""
    return None, problems[0]


def _local(results: Results, file: str, trial: int) -> Path:
    """Return a file of weights on this machine; one behind a URL is copied. Raises FileNotFoundError, OSError."""
    if not is_url(file):
        Path(file).stat()
        return Path(file)
    copy = results.directory / WEIGHTS / weights_name(trial)
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(remote.read(file))
    return copy


def _agrees(source: TrialRecord, architecture: Architecture, facts: dict[str, Any]) -> bool:
    """Return whether a file of weights says what is on record of its trial."""
    accuracies = dict(zip(source.seeds, source.seed_val_accuracies, strict=False))
    return (
        architecture == source.architecture
        and facts.get("trial") == source.trial
        and facts.get("epoch") == source.epochs
        and facts.get("seed") in accuracies
        and facts.get("val_accuracy") == accuracies[facts["seed"]]
    )


def _again(
    results: Results, record: TrialRecord, directory: str | Path, allow_plugins: bool, data: Dataset | None, why: str
) -> Trained:
    from ressearch.search.recorded import recipe_of
    from ressearch.training import Engine

    study = study_of(results, directory, allow_plugins, data)
    splits = study.splits().to(trial_device(None))
    fresh = fresh_seed(results)
    layout = record.row.get("channels_last")
    pinned = {"channels_last": bool(layout)} if isinstance(layout, bool | np.bool_) else {}
    recipe = recipe_of(record.row).model_copy(update={"seeds": (fresh,), **pinned})
    classes, architecture = study.dataset.classes, record.architecture
    reached = 0.0
    with training(f"trial {record.trial}"):
        engine = Engine(architecture, splits, len(classes), recipe, init=study.initial_weights)
        while not engine.is_finished:
            reached = engine.train_epoch()[0].val_accuracy
    classifier = classifier_of(architecture, engine.state(0), splits, classes, input_dtype_of(study.dataset))
    return Trained(classifier, reached, fresh, engine.epoch, record, why=why)


@contextlib.contextmanager
def training(what: str) -> Iterator[None]:
    """Say in one line that training diverged or found no memory: both are StudyErrors."""
    from ressearch.training import Diverged

    try:
        yield
    except Diverged as problem:
        raise StudyError(f"{what}: diverged: {problem}; nothing was written") from None
    except (torch.OutOfMemoryError, MemoryError) as problem:
        raise StudyError(f"{what}: out of memory: {first_line(problem)}") from None


def accuracies(study: Study, classifiers: Sequence[Classifier]) -> list[float]:
    """Return what classifiers reach on a study's validation part; the test part is not read.

    Raises StudyError if the data are not on this machine.
    """
    device = trial_device(None)
    part = study.splits().validation
    found = []
    for one in classifiers:
        found.append(accuracy(one.to(device), part))
        one.to("cpu")
    return found


__all__ = ["Trained", "accuracies", "find_trial", "read_run_of", "train", "trained", "training"]
