"""Recipe: how networks are trained; one for all trials of a study, so that architectures are compared, not recipes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ressearch.data.batches import AUGMENTATIONS
from ressearch.errors import nearest


class Recipe(BaseModel):
    """How each network is trained.

    Attributes:
        optimizer: ``sgd`` (Nesterov momentum) or ``adamw``.
        lr: peak learning rate.
        momentum: of SGD.
        weight_decay: on weights alone; norms and biases are not decayed.
        schedule: ``one_cycle`` (linear warm-up over 30 % of the steps unless `warmup_epochs` says otherwise, then
            cosine to 0), ``cosine`` (`warmup_epochs` of linear warm-up, then cosine to 0) or ``constant``.
        warmup_epochs: epochs of linear warm-up; None takes the schedule's own.
        epochs: passes over the training data.
        batch_size: examples a step.
        label_smoothing: of the cross-entropy.
        gradient_clip: largest gradient norm; None does not clip.
        augmentation: names applied in turn to training batches: ``crop``, ``flip``.
        seeds: one replicate a seed: its initialisation, data order and augmentation. A number n means 0 … n-1.
        precision: ``float32``, or ``bfloat16`` / ``float16`` autocast.
        channels_last: memory layout of images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-4
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup_epochs: Annotated[float, Field(ge=0)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=2)] = 64
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    augmentation: tuple[str, ...] = ()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = True

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_to_seeds(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("expected at least 1 seed")
            return tuple(range(value))
        return value

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("expected at least 1 seed")
        if len(set(value)) != len(value):
            raise ValueError("the seeds must differ")
        return value

    @field_validator("augmentation")
    @classmethod
    def _known_augmentation(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in AUGMENTATIONS:
                raise ValueError(f"'{name}' is unknown; {nearest(name, AUGMENTATIONS)}")
        return value

    @model_validator(mode="after")
    def _warmup_fits(self) -> Recipe:
        if self.warmup_epochs is not None and self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} leaves nothing of {self.epochs} epochs")
        return self
