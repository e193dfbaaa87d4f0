"""What a report says of the run itself: the keys of `run.json` that it needs, and their types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ressearch.errors import StudyError


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Named(_Part):
    name: str


class _Tune(_Part):
    tune: list[float]


class _Transfer(_Part):
    base: float
    base_width: int


class _Recipe(_Part):
    optimizer: str
    lr: float | _Tune | _Transfer
    schedule: str
    epochs: int
    batch_size: int
    weight_decay: float
    augmentation: list[str]
    seeds: Annotated[list[int], Field(min_length=1)]
    lr_batch_size: int | None = None
    lr_rule: str = ""


class _Width(_Part):
    match: Literal["params", "macs", "activations"] | None = None
    target: int | str | None = None


class _Domains(_Part):
    width: _Width | int | list[Any] | None = None


class _Space(_Part):
    grid: _Domains | None
    search: _Domains | None = None


class _Search(_Part):
    trials: int | None
    sampler: _Named | None
    scheduler: _Named
    objective: Annotated[list[str], Field(min_length=1)]
    budget: dict[Literal["epochs", "macs_trained", "wall_time"], float | None] = {}


class _Study(_Part):
    seed: int
    space: _Space
    recipe: _Recipe
    search: _Search


class _Examples(_Part):
    train: Annotated[int, Field(ge=1)]
    validation: Annotated[int, Field(ge=1)]
    test: int


class _Machine(_Part):
    system: str
    cpu_cores: int
    gpus: list[str]


class _Run(_Part):
    name: str
    question: str
    command: str
    overrides: dict[str, str]
    study: _Study
    data_source: str
    split_fingerprint: str
    examples: _Examples
    num_classes: Annotated[int, Field(ge=1)]
    planned_trials: int
    refused_points: dict[str, int] = {}
    class_counts: Annotated[dict[str, int], Field(min_length=1)] | None = None
    memory: str = ""
    machine: _Machine
    versions: dict[str, str]
    started_at: AwareDatetime
    ended_at: AwareDatetime | None
    concurrency: int | None
    cpus_per_trial: float | None
    gpus_per_trial: float | None


def require(run: dict[str, Any], source: object) -> None:
    """Refuse what is known of a run if a report cannot be made of it.

    Args:
        run: what `run.json` says.
        source: its path, for the message.

    Raises StudyError naming the first key that is missing or of another type.
    """
    try:
        _Run.model_validate(run)
        space = run["study"]["space"]
        if (space["grid"] or space.get("search")) is None:
            raise StudyError(f"{source}: damaged: study.space: neither a grid nor a search")
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise StudyError(f"{source}: damaged: {key}: {problem['msg'][0].lower()}{problem['msg'][1:]}") from None


__all__ = ["require"]
