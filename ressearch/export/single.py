"""Trains one network into a directory: a preset, a name, a description, or a trial's network under its study's recipe.

A directory holds `train.json` (what was asked for, and the test score if that was), `metrics.csv` (a row per epoch),
`weights.safetensors`, its model card `README.md` and, until the last epoch, a checkpoint: whatever ends the training,
the same call goes on with at most the epoch in flight repeated.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from ressearch import durable
from ressearch.data import Dataset, Splits
from ressearch.errors import StudyError
from ressearch.export import request
from ressearch.export.card import Card, Score, write_card
from ressearch.export.request import Request
from ressearch.export.sources import training
from ressearch.networks.architecture import Architecture
from ressearch.search.resources import trial_device
from ressearch.threads import torch_threads
from ressearch.training import Engine, EpochResult, Recipe, checkpoint
from ressearch.training.classifier import Classifier, accuracy, classifier_of, from_file, input_dtype_of, to_bytes
from ressearch.version import __version__

RECORD, METRICS, WEIGHTS, CARD, CHECKPOINT, LOCK = (
    *("train.json", "metrics.csv", "weights.safetensors"),
    *("README.md", "checkpoint.pt", ".lock"),
)

_COLUMNS = [field.name for field in dataclasses.fields(EpochResult)]

History = list[dict[str, Any]]


@dataclass(frozen=True)
class Training:
    """A network that was trained.

    Attributes:
        directory: what was written.
        classifier: in evaluation mode, on the CPU.
        history: a row per epoch, as `ressearch.training.EpochResult`.
        val_accuracy: after the last epoch; None where validation examples were trained on.
        test_accuracy: on the test part; None where it was not asked for.
    """

    directory: Path
    classifier: Classifier
    history: History
    val_accuracy: float | None
    test_accuracy: float | None


def train(
    network: str | Path | Architecture,
    out: str | Path,
    data: str | Dataset | None = None,
    *,
    recipe: Recipe | str | Path | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    all_data: bool = False,
    test: bool = False,
    overrides: tuple[str, ...] = (),
    allow_plugins: bool = False,
    force: bool = False,
    threads: int | None = None,
    told: Callable[[EpochResult, Recipe], Any] = lambda result, recipe: None,
) -> Training:
    """Train one network into a directory, or go on with it there.

    Args:
        network: a preset, a name, a JSON file of Architecture fields; or ``DIRECTORY/TRIAL`` of a study, whose data and
            recipe are taken.
        out: the directory to write; new, empty, or of the same training, which goes on.
        data: name of a data set, or one in memory; of a trial its study's.
        recipe: how; or a file of recipe keys, or a study file, whose recipe is taken.
        epochs, seed: in the place of the recipe's; the seed is 0, or of a trial one that its study has not used.
        all_data: train on the validation part too: no validation score exists then.
        test: score the test part after the last epoch, once; the score is recorded.
        overrides: ``recipe.lr=0.05``, ``data.size=32``, as ``--set`` takes them.
        allow_plugins: run the plugins that came with the study; they are code.
        force: begin anew, whatever training the directory holds.
        threads: CPU threads, within this call; None is as torch takes. With other processes on the cores 1 is fastest.
        told: is told of each epoch that ended, and the recipe.

    Raises:
        RessearchError: what is asked for is unknown or does not go together; the directory holds something else;
            training diverged. Nothing is lost by it.
    """
    asked = request.read(network, data, recipe, epochs, seed, all_data, overrides, allow_plugins)
    directory = Path(out)
    with _owned(directory), torch_threads(threads):
        record = _begin(directory, asked, force)
        if not (directory / WEIGHTS).is_file() or record["ended_epoch"] is None:
            record = _carry_out(directory, asked, record, told)
        return _finish(directory, asked, record, test)


@contextlib.contextmanager
def _owned(directory: Path) -> Iterator[None]:
    """Hold the directory against other processes."""
    lock = filelock.FileLock(directory / LOCK)
    try:
        if directory.exists() and not directory.is_dir():
            raise StudyError(f"{directory}: is no directory")
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise StudyError(f"{directory}: another process trains there; wait for it, or end it first") from None
    except OSError as error:
        raise StudyError(f"{directory}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    try:
        yield
    finally:
        lock.release()


def _begin(directory: Path, asked: Request, force: bool) -> dict[str, Any]:
    """Return what is on record of this training; a new record where there is none."""
    file = directory / RECORD
    others = [one.name for one in directory.iterdir() if one.name != LOCK and not one.name.endswith(".part")]
    if file.is_file() and not force:
        record = _read(file)
        if (difference := _difference(record["asked"], asked.key)) is not None:
            raise StudyError(
                f"{directory}: holds another training ({difference}); nothing was overwritten: --out names another "
                "directory, --force begins anew"
            )
        return record
    if others and not file.is_file():
        raise StudyError(f"{directory}: holds other files than a training's; --out names a new directory")
    for name in (WEIGHTS, METRICS, CARD):
        (directory / name).unlink(missing_ok=True)
    checkpoint.remove(str(directory / CHECKPOINT))
    record = {"ressearch": __version__, "asked": asked.key, "ended_epoch": None, "test_accuracy": None}
    _write(directory, record)
    return record


def _read(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(record["asked"], dict) or {"ended_epoch", "test_accuracy"} - set(record):
            raise TypeError("expected what a training records")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StudyError(f"{file}: damaged: {error}; --force begins anew") from None
    return dict(record)


def _write(directory: Path, record: dict[str, Any]) -> None:
    durable.replace_text(directory / RECORD, json.dumps(record, indent=2) + "\n")


def _difference(old: Any, new: Any, path: str = "") -> str | None:
    """Return the first key that differs, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            if (found := _difference(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))) is not None:
                return found
        return None
    return None if old == new else f"{path} {json.dumps(old)}, not {json.dumps(new)}"


def _carry_out(
    directory: Path, asked: Request, record: dict[str, Any], told: Callable[[EpochResult, Recipe], Any]
) -> dict[str, Any]:
    """Train what is missing and write the weights."""
    device = trial_device(None)
    splits = asked.splits.to(device)
    place, history = str(directory / CHECKPOINT), []
    state = None
    with contextlib.suppress(StudyError):  # damaged: begin anew
        state = checkpoint.load(place, device)
    if state is not None and state.get("config") == json.dumps(asked.key):
        history = state["history"]
    else:
        state = None
    with training(str(directory)):
        engine = Engine(asked.architecture, splits, len(asked.dataset.classes), asked.recipe, state, init=asked.init)
        while not engine.is_finished:
            (result,) = engine.train_epoch()
            history.append(dataclasses.asdict(result))
            try:
                checkpoint.save(place, {"config": json.dumps(asked.key), "history": history, **engine.state_dict()})
                _write_metrics(directory, history)
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise StudyError(f"{directory}: cannot be written: {why}; the same command goes on") from None
            told(result, asked.recipe)
    _write_metrics(directory, history)
    last = {key: None if isinstance(one, float) and math.isnan(one) else one for key, one in history[-1].items()}
    facts = {**{key: last[key] for key in ("seed", "epoch", "val_accuracy", "val_loss")}, "recipe": asked.key["recipe"]}
    weights = to_bytes(_classifier(asked, engine, splits), facts)
    durable.replace(directory / WEIGHTS, lambda file: file.write(weights))
    record = {**record, "ended_epoch": engine.epoch, "val_accuracy": last["val_accuracy"]}
    _write(directory, record)
    checkpoint.remove(place)
    return record


def _classifier(asked: Request, engine: Engine, splits: Splits) -> Classifier:
    dataset = asked.dataset
    return classifier_of(asked.architecture, engine.state(0), splits, dataset.classes, input_dtype_of(dataset))


def _write_metrics(directory: Path, history: History) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    for row in history:
        table.writerow({key: "" if isinstance(one, float) and math.isnan(one) else one for key, one in row.items()})
    durable.replace_text(directory / METRICS, text.getvalue())


def _finish(directory: Path, asked: Request, record: dict[str, Any], test: bool) -> Training:
    """Score the test part if that is asked for and was not done, write the card, and return what there is."""
    try:
        classifier, _ = from_file(directory / WEIGHTS)
    except Exception as error:  # the bytes may be anything
        raise StudyError(f"{directory / WEIGHTS}: damaged: {error}; --force begins anew") from None
    if test and record["test_accuracy"] is None:
        record = {**record, "test_accuracy": accuracy(classifier, asked.splits.test)}
        _write(directory, record)
    write_card(_card(asked, classifier, record), directory / CARD, [directory / WEIGHTS])
    with (directory / METRICS).open(encoding="utf-8", newline="") as file:
        history: History = [{key: _number(text) for key, text in row.items()} for row in csv.DictReader(file)]
    return Training(directory, classifier, history, record.get("val_accuracy"), record["test_accuracy"])


def _number(text: str) -> float | int:
    return math.nan if not text else float(text) if not text.lstrip("-").isdecimal() else int(text)


def _card(asked: Request, classifier: Classifier, record: dict[str, Any]) -> Card:
    (seed,), splits = asked.recipe.seeds, asked.splits
    reached = {"validation": record.get("val_accuracy"), "test": record["test_accuracy"]}
    scores = [
        Score("accuracy", part, (value,), f"these weights, seed {seed}")
        for part, value in reached.items()
        if value is not None
    ]
    parts = {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)}
    notes = ["the validation part was trained on too, so that no validation score exists"] if asked.all_data else []
    return Card(
        f"{asked.title}, {asked.dataset.name}",
        asked.architecture,
        classifier.input_shape,
        str(classifier.input_dtype).removeprefix("torch."),
        classifier.classes,
        {
            "name": asked.dataset.name,
            "source": asked.dataset.source,
            "examples": {part: count for part, count in parts.items() if count},
            "split_fingerprint": splits.fingerprint,
        },
        asked.key["recipe"],
        f"trained for {record['ended_epoch']} epochs on seed {seed}",
        tuple(scores),
        notes=tuple(notes),
        run=asked.of or "",
        is_chosen=False,
    )


__all__ = ["Training", "train"]
