"""The sections of a study file, each with what it may say; `ressearch.search.study` puts them together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from ressearch.data import Options, find
from ressearch.errors import (
    DataError,
)
from ressearch.limits import (
    LONGEST_NAME,
    MOST_EPOCHS,
    MOST_SEEDS,
    MOST_TRIALS,
    short,
)
from ressearch.strict import Section
from ressearch.units import parse_count, parse_duration, parse_milliseconds, parse_size

Count = Annotated[int, BeforeValidator(parse_count)]
Size = Annotated[int, BeforeValidator(parse_size)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class SpaceSection(Section):
    """The networks: either `grid` (every combination) or `search` (sampled); keys as in `SearchSpace`."""

    grid: dict[str, Any] | None = None
    search: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> SpaceSection:
        if (self.grid is None) == (self.search is None):
            raise ValueError("expected either 'grid' (every combination) or 'search' (sampled)")
        return self

    @property
    def form(self) -> Literal["grid", "search"]:
        """Which of the two forms is used."""
        return "grid" if self.grid is not None else "search"


class DataSection(Section):
    """The data: a registered name, how it is read, and the parts held out by the study's seed.

    Attributes:
        name: one of `ressearch.data.DATASETS`, such as ``digits`` or ``imagefolder:photos``.
        validation: fraction of each class that ranks the networks; None takes the publisher's validation part, else a
            fifth.
        test: fraction of each class that scores finalists; None takes the publisher's test part, else a fifth.
        fraction: share of the training part to train on; None is all of it.
        per_class: training examples of each class to train on; None is all.
        root, size, channels, image, label, verify, memory: see `ressearch.data.Options`.
    """

    name: str = "digits"
    validation: Fraction | None = None
    test: Fraction | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    per_class: Annotated[int, Field(ge=1, le=10**9)] | None = None
    root: str | None = None
    size: Annotated[int, Field(ge=1, le=4096)] | None = None
    channels: Literal[1, 3] | None = None
    image: str | None = None
    label: str | None = None
    verify: bool = True
    memory: Literal["auto", "resident", "stream"] = "auto"

    @property
    def options(self) -> Options:
        """How the data set is read."""
        return Options(self.root, self.size, self.channels, self.image, self.label, self.verify, self.memory)

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            find(name)
        except DataError as error:
            raise ValueError(str(error)) from None
        return name

    @model_validator(mode="after")
    def _leaves_training_data(self) -> DataSection:
        test, validation = self.test or 0.0, self.validation or 0.0
        if validation + test >= 1:
            raise ValueError(f"validation {validation:g} + test {test:g} leave nothing to train on")
        return self


class Named(Section):
    """A sampler or a scheduler: its name and options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.__pydantic_extra__ or {})


def _to_mapping(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def to_tuple(value: object) -> object:
    """Return a text as a tuple of one; anything else as it is."""
    return (value,) if isinstance(value, str) else value


def to_name(value: object) -> object:
    """Check a study's name: it becomes a directory, so it is one component of a path that every system can write."""
    if not isinstance(value, str):
        return value
    if not 1 <= len(value) <= LONGEST_NAME or len(value.encode(errors="replace")) > 2 * LONGEST_NAME:
        raise ValueError(f"a name of {len(value)} characters; expected 1 to {LONGEST_NAME}")
    if value in (".", "..") or value != value.strip() or not value.isprintable() or {"/", "\\"} & set(value):
        raise ValueError(f"{short(value)} is not the name of one directory, such as depth-study")
    return value


class BudgetSection(Section):
    """When the search ends, if not after its trials: what is spent first ends it, running trials too.

    Attributes:
        epochs: passes over the training data, summed over trials and seeds.
        macs_trained: multiply-accumulates, a backward pass counted as two forward ones.
        wall_time: ``30m``, ``2h`` or seconds that the study has run; pauses before a `resume` do not count.
    """

    epochs: Count | None = None
    macs_trained: Annotated[float, BeforeValidator(parse_count)] | None = None
    wall_time: Annotated[Positive, BeforeValidator(parse_duration)] | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether anything bounds the search."""
        return any(value is not None for value in (self.epochs, self.macs_trained, self.wall_time))


class FinalistsSection(Section):
    """The best networks are trained again, on fresh seeds, and only then scored on the test part.

    Attributes:
        count: how many of the best fully trained networks; 0 has none.
        seeds: fresh seeds for each, none of them the search's.
        epochs: of each; None is the recipe's.
    """

    count: Annotated[int, Field(ge=0, le=MOST_TRIALS)] = 0
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = 3
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | None = None


class SearchSection(Section):
    """How architectures are proposed, stopped and judged.

    Attributes:
        trials: how many; None for a grid is all of it, else as many as the budget allows.
        sampler: one of `ressearch.search.samplers.SAMPLERS`, or ``grid`` (the default, and only, one for a grid).
        scheduler: one of `ressearch.search.schedulers.SCHEDULERS`.
        objective: one or several of `ressearch.results.ranking.OBJECTIVES`; the scheduler, and the order of trials
            everywhere, follow the first.
        constraints: bounds on cost; dearer architectures are never proposed.
        budget: what ends the search, besides the number of trials.
        points: networks to try first, in this order: answers to some of the space's keys (``{depth: 20, skip:
            identity}``), or names of presets or architectures.
        warm_start: directories of earlier studies. What was trained under the same recipe on the same split is told
            to the sampler, and not trained again on the same seeds; of other studies the best networks are tried
            first (`ressearch.search.earlier`).
        finalists: the best are trained again and scored on the test part.
        baseline: ``random`` spends the search's MACs once more on networks drawn at random, for the report to
            compare.
        storage: Optuna storage URL; None is a journal file in the study directory.
    """

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] | None = None
    sampler: Annotated[Named, BeforeValidator(_to_mapping)] | None = None
    scheduler: Annotated[Named, BeforeValidator(_to_mapping)] = Named(name="fifo")
    objective: Annotated[tuple[str, ...], BeforeValidator(to_tuple)] = ("val_accuracy",)
    constraints: Constraints = Field(default_factory=lambda: Constraints())
    budget: BudgetSection = BudgetSection()
    points: tuple[Any, ...] = ()
    warm_start: Annotated[tuple[str, ...], BeforeValidator(to_tuple)] = ()
    finalists: FinalistsSection = FinalistsSection()
    baseline: Literal["random"] | None = None
    storage: str | None = None


class Constraints(Section):
    """Bounds on cost, such as ``max_macs: 40M``: a network beyond them is never trained.

    Attributes:
        max_params, max_macs, max_activations: exact, for one input.
        max_training_memory: bytes (``2G``) that training a replicate needs at the least, under the study's recipe.
        max_size: bytes (``1MB``) of the parameters in `dtype`.
        dtype: of the weights on disk, for `max_size`: ``float32``, ``float16`` or ``bfloat16``.
        max_latency: milliseconds (or ``5ms``) of a forward pass of one input, measured here with a trial's threads (or
            its GPU).
    """

    max_params: Count | None = None
    max_macs: Count | None = None
    max_activations: Count | None = None
    max_training_memory: Size | None = None
    max_size: Size | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    max_latency: Annotated[Positive, BeforeValidator(parse_milliseconds)] | None = None


class ResourcesSection(Section):
    """What a trial gets.

    Attributes:
        cpus_per_trial: CPU cores, also its threads.
        gpus_per_trial: GPUs, a fraction or 1; 0 trains on the CPU, whatever the machine has; None packs as many trials
            on a GPU as its memory holds.
        concurrency: most trials at once; None is as many as the machine holds.
        trial_time_limit: seconds (or ``10m``) after which a trial has failed; None has no limit.
        max_failure_rate: the share of failed trials above which the study ends with an error.
    """

    cpus_per_trial: Annotated[float, Field(ge=0.01, le=10_000)] = 1
    gpus_per_trial: Annotated[float, Field(ge=0, le=10_000)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=MOST_TRIALS)] | None = None
    trial_time_limit: Annotated[Positive, BeforeValidator(parse_duration)] | None = None
    max_failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.5


def to_trials(value: object) -> object:
    """Return a text as the section that it is short for."""
    return {"trials": value} if isinstance(value, str) else value


class KeepWeightsSection(Section):
    """Which trained weights the study keeps, for `export` to write without training again.

    Attributes:
        trials: ``best`` (of the best network: of the finalist that repeats it, if there is one), ``finalists`` (of all
            of them too), ``all`` (of every trial that trained to its last epoch) or ``none``.
        max_size: bytes (``500MB``) of all files at most; the best trials' are kept.
    """

    trials: Literal["best", "finalists", "all", "none"] = "best"
    max_size: Size = 2_000_000_000


SearchSection.model_rebuild()
