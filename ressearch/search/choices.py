"""The choices of grouping and memory layout that a study has on record: one for each shape, for all of its trials.

Workers agree through small files beside the checkpoints: the first that has measured a shape decides for all of them.
The record is the trial table (`grouped`, `channels_last`), from which a resumed study, and one that repeats another
(`ressearch run --repeat`), puts the files back before anything trains, on whatever machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import torch

from ressearch.errors import StudyError
from ressearch.results import Store, load
from ressearch.results.run_file import RUN_FILE
from ressearch.results.schema import architecture_of
from ressearch.search.recorded import recipe_of
from ressearch.training.choose import Choice, probe

if TYPE_CHECKING:
    from ressearch.search.study import Study

RETRIED = ", tried again after running out of memory"
"""What the `engine` column says of a trial that was packed less than was chosen for it."""

_FIXED = ("batch_size", "precision", "replicates", "channels_last")
"""Keys of a recipe that a shape depends on, besides the number of seeds."""


class Choices:
    """A study's choices by shape, a `ressearch.training.choose.Settle`; may be sent to other processes.

    Args:
        place: a directory, or a URL that fsspec knows, that all processes of the study reach.
    """

    def __init__(self, place: str) -> None:
        self._place = place

    def __call__(self, shape: str, make: Callable[[], Choice]) -> Choice:
        """Return the choice on record for a shape, else what `make` finds, unless another process was faster."""
        found = self._read(shape)
        if found is None:
            made = make()
            self.put({shape: made})
            found = self._read(shape) or made
        return found

    def put(self, choices: Mapping[str, Choice]) -> None:
        """Put choices on record; those that are there stay."""
        for shape, choice in choices.items():
            with contextlib.suppress(OSError):  # a full disk: this process keeps to its choice, others may not know it
                self._create(shape, json.dumps({"shape": shape, **choice._asdict()}))

    def _name(self, shape: str) -> str:
        return f"{self._place}/choice-{hashlib.sha256(shape.encode()).hexdigest()[:24]}.json"

    def _read(self, shape: str) -> Choice | None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            with fsspec.open(self._name(shape), "r", encoding="utf-8") as file:
                found = json.load(file)
            return Choice(bool(found["is_grouped"]), bool(found["channels_last"]))
        return None

    def _create(self, shape: str, text: str) -> None:
        name = self._name(shape)
        if "://" in name:
            # Not every object store can create without overwriting: two nodes that ask at once may differ, on record.
            if self._read(shape) is None:
                with fsspec.open(name, "w", encoding="utf-8", auto_mkdir=True) as file:
                    file.write(text)
            return
        file, part = Path(name), Path(f"{name}.{os.getpid()}.part")
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        try:
            os.link(part, file)  # whole or not at all, and never over another
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not file.exists():
                part.replace(file)
        finally:
            part.unlink(missing_ok=True)


def recorded(
    rows: Iterable[Mapping[str, Any]], input_shape: tuple[int, ...], classes: int, examples: int
) -> dict[str, Choice]:
    """Return the choices that trials on record ran with, by shape; the first trial of a shape says it.

    Args:
        rows: of the trial table.
        input_shape: one input's, without the batch.
        classes: number of classes.
        examples: that were trained on.
    """
    found: dict[str, Choice] = {}
    for row in rows:
        if not _is_recorded(row):
            continue
        recipe = recipe_of(row)
        asked = probe(architecture_of(row), input_shape, classes, recipe, torch.device("cpu"), examples)
        if asked is not None and asked.is_worthwhile:
            found.setdefault(asked.shape, Choice(bool(row["grouped"]), bool(row["channels_last"])))
    return found


def put_back(store: Store, run: Mapping[str, Any], place: str) -> None:
    """Put on record, before anything trains, how a study's trials have run so far, and those that it repeats.

    Raises StudyError if what the run file says of them is damaged.
    """
    choices = Choices(place)
    choices.put(_recorded(store.tables.trials.values(), run))
    try:
        choices.put({shape: Choice(bool(one), bool(other)) for shape, (one, other) in run.get("choices", {}).items()})
    except (TypeError, ValueError, AttributeError):
        raise StudyError(f"{store.directory / RUN_FILE}: damaged: choices") from None


def _recorded(rows: Iterable[Mapping[str, Any]], run: Mapping[str, Any]) -> dict[str, Choice]:
    if (examples := run.get("examples", {}).get("train")) is None:  # an older version did not write it
        return {}
    return recorded(rows, tuple(run["input_shape"]), run["num_classes"], examples)


def _is_recorded(row: Mapping[str, Any]) -> bool:
    """Return whether a row of the table says how its trial was to run; older studies' do not."""
    says = all(isinstance(row.get(key), bool | np.bool_) for key in ("grouped", "channels_last"))
    return says and RETRIED not in str(row["engine"])


def repeated(directory: str | Path, study: Study) -> dict[str, Choice]:
    """Return the choices of an earlier study, for `study` to repeat.

    Raises StudyError if the directory holds no study, or one whose choices cannot be those of this one.
    """
    earlier = load(directory)
    settings = earlier.run.get("study", {}).get("recipe", {})
    ours = study.recipe.model_dump(mode="json")
    for key in _FIXED:
        if settings.get(key) != ours[key]:
            raise StudyError(
                f"{directory}: has recipe.{key} {settings.get(key)}, this study {ours[key]}: "
                "there is nothing to repeat of how its trials ran"
            )
    shape = tuple(earlier.run.get("input_shape", ()))
    if shape != tuple(study.dataset.input_shape):
        raise StudyError(f"{directory}: has inputs of {shape}, this study of {tuple(study.dataset.input_shape)}")
    rows = [{str(key): value for key, value in row.items()} for _, row in earlier.trials.iterrows()]
    if rows and not any(map(_is_recorded, rows)):
        raise StudyError(f"{directory}: is of an older version, which did not record how its trials ran")
    return _recorded(rows, earlier.run)
