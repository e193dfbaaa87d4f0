"""What `ressearch train` is asked for: a network, data and a recipe, from names, files and overrides; all checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ressearch.data import Dataset, Splits, load_dataset, split
from ressearch.data.registry import keep_in_memory
from ressearch.errors import ArchitectureError, StudyError, StudyErrors
from ressearch.export.sources import find_trial
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import input_channels
from ressearch.networks.named import is_name, read_network
from ressearch.networks.pretrained import Weights, read_weights
from ressearch.search import documents
from ressearch.search.again import fresh_seed, study_of
from ressearch.search.explain import complaints
from ressearch.search.initial import adaptations
from ressearch.search.sections import DataSection
from ressearch.strict import Section
from ressearch.training.recipe import Recipe, Tune


@dataclass(frozen=True)
class Request:
    """A training that can begin.

    Attributes:
        architecture, dataset, splits, recipe: what to train, on what, how.
        title: what the network is called.
        all_data: whether the validation part is trained on.
        of: the trial that it repeats, in words; None where it repeats none.
        key: all of it that makes a difference, as JSON holds it.
        init: the weights that it starts from; None where the recipe names none.
    """

    architecture: Architecture
    dataset: Dataset
    splits: Splits
    recipe: Recipe
    title: str
    all_data: bool
    of: str | None
    key: dict[str, Any]
    init: Weights | None = None


class _Sections(Section):
    data: DataSection = DataSection()
    recipe: Recipe = Recipe()


def read(
    network: str | Path | Architecture,
    data: str | Dataset | None,
    recipe: Recipe | str | Path | None,
    epochs: int | None,
    seed: int | None,
    all_data: bool,
    overrides: tuple[str, ...],
    allow_plugins: bool,
) -> Request:
    """Return what is asked for; arguments and errors as `ressearch.train`."""
    directory, trial = (None, None) if isinstance(network, Architecture) else find_trial(network)
    if directory is not None and trial is None and (Path(directory) / "run.json").is_file():
        raise StudyError(f"{network}: is a study; name one of its trials: {network}/TRIAL")
    document = _document(recipe)
    if directory is not None and trial is not None:
        return _of_trial(directory, trial, document, data, recipe, epochs, seed, all_data, overrides, allow_plugins)
    architecture = network if isinstance(network, Architecture) else read_network(str(network))
    if data is not None:
        document.values["data"] = {"name": keep_in_memory(data) if isinstance(data, Dataset) else data}
    if "name" not in (document.values.get("data") or {}):
        raise StudyError("--data: missing; a data set's name, such as digits (`ressearch data list` has them)")
    sections = _sections(document, overrides, epochs, 0 if seed is None else seed)
    section = sections.data
    dataset = data if isinstance(data, Dataset) else load_dataset(section.name, section.options)
    splits = split(dataset, 0, section.validation, section.test, section.fraction, section.per_class)
    init = _initial(sections.recipe, recipe)
    title = str(network) if not isinstance(network, Architecture) and is_name(str(network)) else architecture.name
    return _request(architecture, dataset, splits, sections, title, all_data, None, init)


def _document(recipe: Recipe | str | Path | None) -> documents.Document:
    """Return the recipe as a document with the section ``recipe``, and ``data`` where a study file has it."""
    if recipe is None:
        return documents.Document("train", "", {})
    if isinstance(recipe, Recipe):
        return documents.Document("recipe", "", {"recipe": recipe.model_dump(mode="json")})
    read_in = documents.read(recipe)
    if {"space", "recipe"} & set(read_in.values):
        kept = {key: read_in.values[key] for key in ("recipe", "data") if read_in.values.get(key) is not None}
        return documents.Document(read_in.source, read_in.text, kept, read_in.lines)
    lines = {("recipe", *path): line for path, line in read_in.lines.items()}
    return documents.Document(read_in.source, read_in.text, {"recipe": read_in.values}, lines)


def _initial(recipe: Recipe, source: Recipe | str | Path | None) -> Weights | None:
    """Return the weights that a recipe names, relative to the directory of its file if it has one; None for none."""
    if recipe.init is None:
        return None
    beside = Path(source).parent if isinstance(source, str | Path) else Path()
    return read_weights(beside / recipe.init)


def _sections(document: documents.Document, overrides: tuple[str, ...], epochs: int | None, seed: int) -> _Sections:
    """Return the sections that a document, overrides and options say; raises all that is wrong with them."""
    values = [f"recipe.epochs={epochs}"] if epochs is not None else []
    for override in (*overrides, *values, f"recipe.seeds=[{seed}]"):
        documents.apply(document, override)
    unknown = [key for key in document.values if key not in ("data", "recipe")]
    if unknown:
        raise StudyError(f"--set {unknown[0]}: is no key of a training; expected recipe.KEY or data.KEY")
    try:
        found = _Sections.model_validate(document.values)
    except ValidationError as error:
        raise StudyErrors(document.error(path, text) for path, text in complaints(error, _Sections)) from None
    if isinstance(found.recipe.lr, Tune):
        raise document.error(("recipe", "lr"), "one network is trained at one rate: --set recipe.lr=0.1 says which")
    return found


def _of_trial(
    directory: str,
    trial: int,
    document: documents.Document,
    data: str | Dataset | None,
    recipe: Recipe | str | Path | None,
    epochs: int | None,
    seed: int | None,
    all_data: bool,
    overrides: tuple[str, ...],
    allow_plugins: bool,
) -> Request:
    from ressearch.results import load
    from ressearch.results.schema import architecture_of
    from ressearch.search.recorded import recipe_of

    if isinstance(data, str) or any(override.startswith("data.") for override in overrides):
        raise StudyError(f"--data: {directory}/{trial} is trained on its study's data; leave it out")
    results = load(directory)
    study = study_of(results, directory, allow_plugins, data)
    rows: list[Any] = results.trials.to_dict("records")
    row: dict[str, Any] = next(one for one in rows if one["trial"] == trial)
    if recipe is None:
        document.values["recipe"] = recipe_of(row).model_dump(mode="json")
        layout = row.get("channels_last")
        if isinstance(layout, bool | np.bool_):
            document.values["recipe"]["channels_last"] = bool(layout)
    document.values.pop("data", None)
    sections = _sections(document, overrides, epochs, fresh_seed(results) if seed is None else seed)
    sections = sections.model_copy(update={"data": study.data})
    is_the_studys = sections.recipe.init == study.recipe.init
    init = study.initial_weights if is_the_studys else _initial(sections.recipe, recipe)
    of = f"trial {trial} of the study '{results.run['name']}'"
    architecture = architecture_of(row)
    return _request(architecture, study.dataset, study.splits(), sections, architecture.name, all_data, of, init)


def _request(
    architecture: Architecture,
    dataset: Dataset,
    splits: Splits,
    sections: _Sections,
    title: str,
    all_data: bool,
    of: str | None,
    init: Weights | None,
) -> Request:
    if init is not None:
        try:
            adaptations(init, architecture, input_channels(dataset.input_shape), len(dataset.classes))
        except ArchitectureError as error:
            raise StudyError(f"recipe.init: {error}") from None
    if sections.recipe.augmentation and len(dataset.input_shape) != 3:
        raise StudyError(
            f"recipe.augmentation: '{sections.recipe.augmentation[0]}' is for images; '{dataset.name}' has none"
        )
    key = {
        "architecture": architecture.to_dict(),
        "data": {**sections.data.model_dump(mode="json"), "content": splits.fingerprint},
        "recipe": sections.recipe.model_dump(mode="json"),
        "all_data": all_data,
        **({} if init is None else {"init": init.sha256}),
    }
    splits = splits.with_all_training() if all_data else splits
    return Request(architecture, dataset, splits, sections.recipe, title, all_data, of, key, init)


__all__ = ["Request", "read"]
