"""Study: what a study file says. A question, a space, data, a recipe, a search and resources, all validated before
anything runs. `ressearch.check` says what it would do, `ressearch.run` does it."""

from __future__ import annotations

import copy
import functools
import importlib.util
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from ressearch.data import Dataset, Splits, load_or_declare, split
from ressearch.data.registry import IN_MEMORY, keep_in_memory
from ressearch.errors import (
    BudgetError,
    DataError,
    PluginError,
    RessearchError,
    SpaceError,
    StudyError,
    StudyErrors,
    nearest,
)
from ressearch.limits import (
    LARGEST_SEED,
    LISTED_POINTS,
    MOST_TRIALS,
    plain,
    short,
)
from ressearch.networks.architecture import Architecture
from ressearch.networks.cost import BYTES, Budget, cost
from ressearch.networks.pretrained import Weights, read_weights
from ressearch.plugins import Plugin, load_kept, load_plugin, require_distinct
from ressearch.results.ranking import OBJECTIVES, Objective
from ressearch.search import documents
from ressearch.search.explain import complaints
from ressearch.search.loggers import LOGGERS
from ressearch.search.options import problem_with
from ressearch.search.schedulers import PAUSING, REFUSED, SCHEDULERS
from ressearch.search.sections import (
    DataSection,
    KeepWeightsSection,
    Named,
    ResourcesSection,
    SearchSection,
    SpaceSection,
    to_name,
    to_trials,
    to_tuple,
)
from ressearch.search.storages import problem_with_url
from ressearch.spaces.answers import complete
from ressearch.spaces.domains import read as read_domain
from ressearch.spaces.space import SearchSpace
from ressearch.strict import Section
from ressearch.training.recipe import Recipe

_is_raw: ContextVar[bool] = ContextVar("_is_raw", default=False)
"""Whether values become a Study as they are, without the checks that need a document."""


class Study(Section):
    """A study: a space, data, a recipe, a search, resources.

    `loggers` names tools that are to follow it too; `plugins` the Python files (paths start from the study file) and
    modules that bring blocks, skips, data sets, … of somebody's own (`ressearch.plugins`). `data` may be a data set in
    memory, from `ressearch.data.from_arrays`.

    Examples:
        >>> study = Study.from_dict({"space": {"grid": {"depth": [8, 20], "skip": ["none", "identity"]}}})
        >>> study.planned_trials
        4
    """

    name: Annotated[str, BeforeValidator(to_name)] = "study"
    question: str = ""
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] = 0
    space: SpaceSection
    data: DataSection = DataSection()
    recipe: Recipe = Recipe()
    search: SearchSection = SearchSection()
    resources: ResourcesSection = ResourcesSection()
    keep_weights: Annotated[KeepWeightsSection, BeforeValidator(to_trials)] = KeepWeightsSection()
    loggers: Annotated[tuple[str, ...], BeforeValidator(to_tuple)] = ()
    plugins: Annotated[tuple[str, ...], BeforeValidator(to_tuple)] = ()

    _document: documents.Document = PrivateAttr()
    _loaded: tuple[Plugin, ...] = PrivateAttr(default=())
    _base: Path = PrivateAttr(default=Path())
    _began_with: dict[str, str] | None = PrivateAttr(default=None)

    def __init__(self, /, **values: Any) -> None:
        """Validate a study given by its sections. Raises as `from_file` does."""
        if _is_raw.get():
            super().__init__(**values)
        else:
            self.__setstate__(type(self).from_dict(values).__getstate__())

    @field_validator("loggers")
    @classmethod
    def _known_loggers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in LOGGERS:
                raise ValueError(f"'{name}' is unknown; {nearest(name, LOGGERS)}")
            package = LOGGERS[name].package
            if package is not None and importlib.util.find_spec(package) is None:
                raise ValueError(f"'{name}' is not installed: pip install {package}")
        return value

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> Study:
        """Read and validate a study file; `overrides` are ``key.path=value`` texts, as ``--set`` takes them.

        Raises StudyError (or SpaceError, BudgetError, DataError) with file, line, key, value and remedy in one line.
        """
        document = documents.read(path, overrides)
        document.values.setdefault("name", Path(path).stem)
        return cls._validated(document, _load_plugins(document, Path(path).parent), Path(path).parent)

    @classmethod
    def from_directory(
        cls, directory: str | Path, allow_plugins: bool = False, data: Dataset | None = None, place: str | Path = ""
    ) -> Study:
        """Read the study that a study directory carries out, overrides applied.

        Args:
            directory: of the study, on this machine.
            allow_plugins: code that came with the directory may run.
            data: the study's data set, if it was one in memory.
            place: the directory as the user names it [`directory`].

        Raises as `from_file`, and PluginError where plugins are needed that may not run, or are not what they were.
        """
        from ressearch.results.run_file import STUDY_FILE, read_run

        directory = Path(directory)
        run = read_run(directory)
        plugins = load_kept(directory, run, allow_plugins, place or directory)
        if data is not None:
            keep_in_memory(data, _data_name(run))
        overrides = [f"{key}={value}" for key, value in run.get("overrides", {}).items()]
        document = documents.read(directory / STUDY_FILE, overrides)
        document.values.setdefault("name", run["name"])
        return cls._validated(document, plugins, directory, run.get("init"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Study:
        """Validate a study given as a mapping; paths start from the working directory. Raises as `from_file` does."""
        try:
            text = yaml.dump(_without_arrays(values), Dumper=_Plain, sort_keys=False, allow_unicode=True)
        except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
            raise StudyError(f"study: expected text, numbers, lists and mappings alone: {short(str(error))}") from None
        document = documents.parse(text, "study")
        return cls._validated(document, _load_plugins(document, Path()))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Study:
        """Return a study of values that were valid once, without looking at its data, its space or its plugins.

        Raises pydantic.ValidationError if the values are none of this version.
        """
        token = _is_raw.set(True)
        try:
            return cls.model_validate(values)
        finally:
            _is_raw.reset(token)

    def with_data(self, data: Dataset) -> Study:
        """Return this study on a data set in memory (`ressearch.data.from_arrays`). Raises as `from_file`."""
        name = keep_in_memory(data)
        document = copy.deepcopy(self._document)
        document.values["data"] = {**(document.values.get("data") or {}), "name": name}
        document.overrides["data", "name"] = name
        return self._validated(document, self._loaded, self._base, self._began_with)

    @classmethod
    def _validated(
        cls,
        document: documents.Document,
        plugins: tuple[Plugin, ...] = (),
        base: Path = Path(),
        began_with: dict[str, str] | None = None,
    ) -> Study:
        problems: list[RessearchError] = _space_problems(document)
        try:
            study = cls.from_values(document.values)
        except ValidationError as error:
            problems += [document.error(path, text) for path, text in complaints(error, cls)]
            raise _together(problems, document) from None
        study._document, study._loaded, study._base, study._began_with = document, plugins, base, began_with
        checks = [study._check_search, study._check_augmentation, study._check_init]
        for check in checks if problems else [*checks, study._check_space]:
            problems += _caught(check)
        for check in () if problems else (study._check_sampler, study._check_points):
            problems += _caught(check)
        if problems:
            raise _together(problems, document)
        return study

    def _check_space(self) -> None:
        """Refuse a space without networks, a budget that nothing fits, data that cannot be read, an endless grid."""
        document, form = self._document, self.space.form
        try:
            space = self.search_space
        except SpaceError as error:
            raise document.error(("space", form, *([error.key] if error.key else [])), str(error)) from None
        except BudgetError as error:
            raise BudgetError(f"{document.place(('search', 'constraints'))}: {error}") from None
        except DataError as error:
            raise document.error(("data",), str(error)) from None
        sampler = self.search.sampler
        is_listed = form == "grid" or (sampler is not None and sampler.name == "grid")
        if is_listed and LISTED_POINTS < space.size < math.inf:
            message = f"a grid of {plain(int(space.size))} points is above {LISTED_POINTS}, the most there can be"
            raise document.error(("space", form), f"{message}; `search` with another sampler draws from such a space")

    def _check_points(self) -> None:
        """Refuse a point to try first that is not of the space, and an earlier study that is none."""
        search, refuse = self.search, self._document.error
        for index, point in enumerate(search.points):
            path = ("search", "points", index)
            if not isinstance(point, str | dict):
                raise refuse(path, f"{short(point)} is neither a mapping nor a name")
            try:
                self._require_point(point)
            except BudgetError:
                said = point if isinstance(point, str) else "every network with these answers that was tried"
                raise refuse(path, f"{said} is beyond the constraints ({self.search_space.budget})") from None
            except RessearchError as error:
                raise refuse(path, str(error)) from None
        for index, directory in enumerate(search.warm_start):
            from ressearch.results import load

            try:
                load(directory)
            except StudyError as error:
                raise refuse(("search", "warm_start", index), str(error)) from None

    def _require_point(self, point: str | dict[str, Any]) -> None:
        """Raise an error if a point to try first is no network, or beyond the constraints."""
        space = self.search_space
        if isinstance(point, dict):
            complete(space, point, "check")
            return
        price = cost(Architecture.from_name(point), space.input_shape, space.num_classes)
        if not space.budget.allows(price):
            raise BudgetError(str(space.budget))

    def _check_sampler(self) -> None:
        """Refuse a sampler that cannot search this space, by name and with the reason."""
        from ressearch.search.samplers import SAMPLERS

        named, space = self.search.sampler, self.search_space
        if named is None or self.space.form == "grid":
            return
        if named.name == "grid":
            if math.isinf(space.size):
                raise self._document.error(("search", "sampler"), "a continuous range has no grid: give it a step")
            return
        why = SAMPLERS[named.name].refusal(len(self.search.objective), space.ranges)
        if why is not None:
            raise self._document.error(("search", "sampler"), f"{named.name} {why}")

    def _check_augmentation(self) -> None:
        if self.recipe.augmentation and len(self.dataset.input_shape) != 3:
            message = f"'{self.recipe.augmentation[0]}' is for images; '{self.data.name}' has none"
            raise self._document.error(("recipe", "augmentation"), message)

    def _check_init(self) -> None:
        """Refuse a file of weights that cannot be read, or is not the one that the study began with."""
        try:
            _ = self.initial_weights
        except RessearchError as error:
            raise self._document.error(("recipe", "init"), str(error)) from None

    @functools.cached_property
    def initial_weights(self) -> Weights | None:
        """What the recipe's `init` holds; None where it names no file.

        Raises ArchitectureError if the file cannot be read, StudyError if it is not what the study began with.
        """
        if self.recipe.init is None:
            return None
        began = self._began_with
        weights = read_weights(self._base / self.recipe.init if began is None else began["file"])
        if began is not None and weights.sha256 != began["sha256"]:
            raise StudyError(
                f"{weights.file} was changed since the study began (SHA-256 {weights.sha256[:12]}, then "
                f"{began['sha256'][:12]}): bring it back, or run into a new directory"
            )
        return weights

    def _check_search(self) -> None:
        from ressearch.search.samplers import SAMPLERS

        search, refuse = self.search, self._document.error
        names = ["grid"] if self.space.form == "grid" else [*SAMPLERS, "grid"]
        makers = {name: one.make for name, one in SAMPLERS.items()}
        if search.sampler is not None:
            _check_named(self._document, "sampler", search.sampler, names, makers)
            if search.sampler.options.get("group") and search.sampler.options.get("multivariate") is False:
                raise refuse(("search", "sampler", "group"), "groups are searched jointly: it needs multivariate: true")
        if search.storage is not None and (why := problem_with_url(search.storage)) is not None:
            raise refuse(("search", "storage"), why)
        if (why := REFUSED.get(search.scheduler.name)) is not None:
            raise refuse(("search", "scheduler"), why)
        _check_named(self._document, "scheduler", search.scheduler, list(SCHEDULERS), SCHEDULERS)
        if search.scheduler.name in PAUSING and self.resources.concurrency is not None:
            message = f"{search.scheduler.name} pauses trials while it starts others, so their number cannot be bounded"
            raise refuse(("resources", "concurrency"), message)
        for objective in search.objective:
            if objective not in OBJECTIVES:
                raise refuse(
                    ("search", "objective"), f"{short(objective)} is unknown; {nearest(objective, OBJECTIVES)}"
                )
        if not search.objective or search.objective[0] not in ("val_accuracy", "val_loss"):
            raise refuse(("search", "objective"), "the first objective must be val_accuracy or val_loss")
        if self.space.form == "search" and search.trials is None and not search.budget.is_bounded:
            raise refuse(("search",), "trials: missing; a sampled space needs a number of trials, or a budget")
        if self.space.form == "grid":
            for key in ("points", "warm_start", "baseline"):
                if getattr(search, key):
                    raise refuse(("search", key), "a grid trains all its points; this is for space.search")

    def require_as_read(self) -> None:
        """Raise StudyError if fields were changed since the study was read: its file would say something else."""
        read = self.from_values(self._document.values).model_dump()
        changed = [key for key, value in self.model_dump().items() if read[key] != value]
        if changed:
            raise StudyError(
                f"study: {', '.join(changed)}: changed since the study was read (model_copy?), so that its file would "
                "not say what ran; change the values and read them anew, with Study.from_dict or overrides"
            )

    @property
    def objective(self) -> Objective:
        """What trials are ranked by: the first objective."""
        return Objective.named(self.search.objective[0])

    @property
    def loaded_plugins(self) -> tuple[Plugin, ...]:
        """The plugins that the study names, as this process loaded them."""
        return self._loaded

    @property
    def stated(self) -> dict[str, Any]:
        """What the study file states, overrides applied and defaults left out, as JSON holds it."""
        stated: dict[str, Any] = json.loads(json.dumps(self._document.values, default=str))
        return stated

    @property
    def text(self) -> str:
        """The study file, verbatim."""
        return self._document.text

    def place(self, *path: str | int) -> str:
        """Return ``file:line: key`` of a key path, for messages."""
        return self._document.place(path)

    @property
    def overrides(self) -> dict[str, str]:
        """What ``--set`` changed, by key."""
        return {".".join(map(str, path)): value for path, value in self._document.overrides.items()}

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The data set; of a published one that is not on this machine, what is declared (`Dataset.missing`)."""
        return load_or_declare(self.data.name, self.data.options)

    def require_data(self) -> None:
        """Raise StudyError, saying how to get them, if the data are not on this machine."""
        if self.dataset.missing:
            raise self._document.error(("data",), self.dataset.missing)

    @property
    def examples(self) -> dict[str, int]:
        """Examples of the parts train, validation and test; of missing data as many as are declared."""
        return {part: len(getattr(self._splits, part)) for part in ("train", "validation", "test")}

    def splits(self) -> Splits:
        """Return the study's train, validation and test parts, fixed by its seed; always the same object.

        Raises StudyError if the data are not on this machine.
        """
        self.require_data()
        return self._splits

    @functools.cached_property
    def _splits(self) -> Splits:
        data = self.data
        return split(self.dataset, self.seed, data.validation, data.test, data.fraction, data.per_class)

    @functools.cached_property
    def search_space(self) -> SearchSpace:
        """The space, bounded by the constraints, for the data's shape."""
        return SearchSpace(
            self.space.grid if self.space.form == "grid" else self.space.search,  # type: ignore[arg-type]
            Budget(
                **self.search.constraints.model_dump(exclude={"max_latency", "dtype"}),
                bytes_per_weight=BYTES[self.search.constraints.dtype],
                batch_size=self.recipe.batch_size,
                optimizer_states=self.recipe.optimizer_states,
                bytes_per_number=self.recipe.bytes_per_number,
            ),
            self.dataset.input_shape,
            len(self.dataset.classes),
        )

    @functools.cached_property
    def planned_trials(self) -> int:
        """How many trials the search will run at most: the asked number, or fewer if the space holds no more networks.

        A search that ends by its budget alone may run up to `MOST_TRIALS`.
        """
        asked, space = self.search.trials, self.search_space
        if self.space.form == "search":
            asked = asked or MOST_TRIALS
            if space.size > LISTED_POINTS:
                return asked
        every = itertools.product(space.enumerate(), self.recipe.lrs)
        return sum(1 for _ in itertools.islice(every, asked))


class _Plain(yaml.SafeDumper):
    """Writes a list that stands in two places twice."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that nothing is to be written as an alias."""
        return True


def _load_plugins(document: documents.Document, base: Path) -> tuple[Plugin, ...]:
    """Load the plugins that a study file names, before anything else in it is understood."""
    names = to_tuple(document.values.get("plugins", ()))
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return ()  # the schema says what is wrong
    loaded = []
    try:
        require_distinct(names)
        for name in names:
            loaded.append(load_plugin(name, base))
    except PluginError as error:
        raise PluginError(f"{document.place(('plugins',))}: {error}") from None
    return tuple(loaded)


def _without_arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's values with the name of a data set in memory in the place of the data set."""
    values = _without_numpy(values)
    data = values.get("data")
    if isinstance(data, Dataset):
        return {**values, "data": {"name": keep_in_memory(data)}}
    if isinstance(data, Mapping) and isinstance(data.get("name"), Dataset):
        return {**values, "data": {**data, "name": keep_in_memory(data["name"])}}
    return dict(values)


def _without_numpy(value: Any) -> Any:
    """Return nested values with NumPy's numbers and arrays, and ranges, as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _without_numpy(one) for key, one in value.items()}
    return [_without_numpy(one) for one in value] if isinstance(value, list | tuple | range) else value


def _data_name(run: Mapping[str, Any]) -> str:
    """Return what a study's data set in memory was called. Raises StudyError if it was none."""
    name = str(run.get("study", {}).get("data", {}).get("name", ""))
    if not name.startswith(IN_MEMORY):
        raise StudyError(f"data: the study's data are '{name}', which it reads itself; leave data out")
    return name.removeprefix(IN_MEMORY)


def _space_problems(document: documents.Document) -> list[RessearchError]:
    """Return what is wrong with single keys of the space."""
    problems: list[RessearchError] = []
    section = document.values.get("space")
    for form in ("grid", "search"):
        keys = section.get(form) if isinstance(section, dict) else None
        for key, value in keys.items() if isinstance(keys, dict) else ():
            try:
                read_domain(key, value)
            except SpaceError as error:
                problems.append(document.error(("space", form, key), str(error)))
    return problems


def _caught(check: Callable[[], None]) -> list[RessearchError]:
    try:
        check()
    except RessearchError as error:
        return [error]
    return []


def _together(problems: Sequence[RessearchError], document: documents.Document) -> RessearchError:
    """Return one error of all mistakes, in the order of the file."""
    if len(problems) == 1:
        return problems[0]
    return StudyErrors(sorted(problems, key=document.position))


def _check_named(
    document: documents.Document, key: str, named: Named, names: list[str], registry: Mapping[str, Callable[..., Any]]
) -> None:
    if named.name not in names:
        where = "of a grid " if names == ["grid"] else ""
        raise document.error(("search", key), f"{key} {where}'{named.name}' is unknown; {nearest(named.name, names)}")
    make = registry.get(named.name, lambda: None)  # a grid takes no options
    if (problem := problem_with(named.name, make, named.options)) is not None:
        option, why = problem
        raise document.error(("search", key, option), why)


Study.model_rebuild()

__all__ = [
    "Architecture",
    "RessearchError",
    "Study",
    "StudyError",
]
