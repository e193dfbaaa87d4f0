"""Recipe: how networks are trained; one for all trials of a study, so that architectures are compared, not recipes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from ressearch.data.augment import AUGMENTATIONS
from ressearch.errors import nearest
from ressearch.limits import LARGEST_BATCH, LARGEST_NUMBER, LARGEST_SEED, LARGEST_SIDE, MOST_EPOCHS, MOST_SEEDS, short
from ressearch.strict import Section

Positive = Annotated[float, Field(gt=0, le=LARGEST_NUMBER, allow_inf_nan=False)]
Batch = Annotated[int, Field(ge=2, le=LARGEST_BATCH)]


class Transfer(Section):
    """A learning rate found at one width and carried to others (`ressearch.training.transfer`).

    Attributes:
        transfer: the rule: ``mup``, the maximal update parametrisation (Yang et al. 2021).
        base: the peak learning rate at `base_width`.
        base_width: the first stage's width that it was found at.
    """

    transfer: Literal["mup"]
    base: Positive
    base_width: Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class Tune(Section):
    """Learning rates to try: every architecture is trained with each, so that each depth finds its own.

    Attributes:
        tune: the peak learning rates, at least two.
    """

    tune: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=100)]

    @field_validator("tune")
    @classmethod
    def _differ(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(rates)) < len(rates):
            raise ValueError("the learning rates must differ")
        return rates


def _kind_of_lr(value: object) -> str:
    """Tell which of the forms of `Recipe.lr` a value is meant as; the tag stands in no message."""
    if isinstance(value, Transfer) or (isinstance(value, dict) and {"transfer", "base", "base_width"} & set(value)):
        return "<Transfer>"
    return "<Tune>" if isinstance(value, Tune | dict) else "<number>"


LearningRate = Annotated[
    Annotated[Positive, Tag("<number>")] | Annotated[Transfer, Tag("<Transfer>")] | Annotated[Tune, Tag("<Tune>")],
    Discriminator(_kind_of_lr),
]


class Recipe(Section):
    """How each network is trained.

    Attributes:
        optimizer: ``sgd`` (Nesterov momentum) or ``adamw``.
        lr: peak learning rate; or ``{transfer: mup, base: 0.1, base_width: 16}``, which carries one rate over widths;
            or ``{tune: [0.03, 0.1, 0.3]}``, which trains every architecture with each.
        lr_batch_size: the batch size that `lr` is meant for; other sizes scale it by `lr_rule`. None does not scale.
        lr_rule: ``linear`` (Goyal et al. 2017) or ``sqrt``.
        momentum: of SGD.
        weight_decay: on weights alone; norms and biases are not decayed.
        schedule: ``one_cycle`` (linear warm-up over 30 % of the steps unless `warmup_epochs` says otherwise, then
            cosine to 0), ``cosine`` (`warmup_epochs` of linear warm-up, then cosine to 0) or ``constant``.
        warmup_epochs: epochs of linear warm-up; None takes the schedule's own.
        epochs: passes over the training data.
        batch_size: examples per step, or all of them if there are fewer.
        label_smoothing: of the cross-entropy.
        gradient_clip: largest gradient norm; None does not clip.
        ema: decay of an exponential moving average of the weights, which is what is evaluated; None has none.
        augmentation: names applied in turn to training batches: a key of `ressearch.data.AUGMENTATIONS`.
        seeds: one replicate per seed: its initialisation, data order and augmentation. A number n means 0 … n-1.
        precision: ``float32``, ``bfloat16`` or ``float16`` autocast, or ``float64``.
        channels_last: memory layout of images; ``auto`` takes what a warm-up finds faster, and true where the trial is
            too short for one (`ressearch.training.choose`). Layouts round otherwise: true or false pins the numbers.
        replicates: ``grouped`` trains all seeds as one network, ``separate`` one after another; ``auto`` takes what a
            warm-up finds faster, and ``grouped`` where the trial is too short for one. They round otherwise, too. Under
            ``float16`` seeds train one after another whatever this says.
        init: a file of weights that every replicate starts from (`ressearch.networks.pretrained`), in the place of an
            initialisation of its own; its path starts from the study file. Seeds then differ by the order of the data,
            augmentation, and the new classifier where the number of classes is another.
        cuda_graph: on a GPU, capture the whole step once and replay it (``auto``), or not (``off``).
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: LearningRate = 0.1
    lr_batch_size: Annotated[int, Field(ge=1, le=LARGEST_BATCH)] | None = None
    lr_rule: Literal["linear", "sqrt"] = "linear"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0, le=LARGEST_NUMBER, allow_inf_nan=False)] = 5e-4
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup_epochs: Annotated[float, Field(ge=0, le=MOST_EPOCHS, allow_inf_nan=False)] | None = None
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = 20
    batch_size: Batch = 64
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    gradient_clip: Positive | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    augmentation: tuple[str, ...] = ()
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, le=LARGEST_SEED)], ...], Field(max_length=MOST_SEEDS)] = (0,)
    precision: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    channels_last: Literal[True, False, "auto"] = "auto"
    replicates: Literal["auto", "grouped", "separate"] = "auto"
    init: str | None = None
    cuda_graph: Literal["auto", "off"] = "auto"

    @property
    def peak_lr(self) -> float:
        """The peak learning rate of a step, scaled to the batch size. Raises ValueError while it is still to tune."""
        if isinstance(self.lr, Tune):
            raise ValueError("the learning rate is still to be tuned: take one with `with_lr`")
        lr = self.lr.base if isinstance(self.lr, Transfer) else self.lr
        if self.lr_batch_size is None:
            return lr
        ratio = self.batch_size / self.lr_batch_size
        return lr * (ratio if self.lr_rule == "linear" else ratio**0.5)

    @property
    def optimizer_states(self) -> int:
        """Numbers that the optimizer keeps for each parameter."""
        return 1 if self.optimizer == "sgd" else 2

    @property
    def bytes_per_number(self) -> int:
        """Bytes of an activation."""
        return {"float64": 8, "float32": 4}.get(self.precision, 2)

    @property
    def lrs(self) -> tuple[float | None, ...]:
        """The learning rates that every architecture is trained with; (None,) where there is no choice."""
        return self.lr.tune if isinstance(self.lr, Tune) else (None,)

    def with_lr(self, lr: float | None) -> Recipe:
        """Return the recipe with one learning rate of `lrs`."""
        return self if lr is None else self.model_copy(update={"lr": lr})

    @model_serializer(mode="wrap")
    def _leave_no_init_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write a recipe without `init` as versions before it did, so that their records stay comparable."""
        values: dict[str, Any] = handler(self)
        return {key: value for key, value in values.items() if key != "init" or value is not None}

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_to_seeds(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            if not 1 <= value <= MOST_SEEDS:
                raise ValueError(f"{short(value)} seeds; expected 1 to {MOST_SEEDS}, or a list of seeds")
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
                raise ValueError(f"{short(name)} is unknown; {nearest(name, AUGMENTATIONS)}")
        return value

    @model_validator(mode="after")
    def _init_keeps_its_scale(self) -> Recipe:
        if self.init is not None and isinstance(self.lr, Transfer):
            raise ValueError("init: lr.transfer sets starting weights of its own; give lr as a number, or tune it")
        return self

    @model_validator(mode="after")
    def _warmup_fits(self) -> Recipe:
        if self.warmup_epochs is not None and self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs:g} leaves nothing of {self.epochs} epochs")
        return self
