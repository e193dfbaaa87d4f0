"""Data sets by name, split once by seed, resident on the device or decoded as needed, augmented in batches."""

from ressearch.data import datasets, hub, paths  # noqa: F401  (registers them)
from ressearch.data.augment import AUGMENTATIONS, Augmentation, Mixing, augment, augmentation
from ressearch.data.batches import Batch, Resident, evaluation_batches, training_batches
from ressearch.data.describe import describe
from ressearch.data.lazy import Lazy
from ressearch.data.registry import (
    DATASETS,
    Dataset,
    Declared,
    Options,
    dataset,
    find,
    from_arrays,
    load_dataset,
    load_or_declare,
)
from ressearch.data.splits import Split, Splits, split
from ressearch.data.spool import Place

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "Augmentation",
    "Batch",
    "Dataset",
    "Declared",
    "Lazy",
    "Mixing",
    "Options",
    "Place",
    "Resident",
    "Split",
    "Splits",
    "augment",
    "augmentation",
    "dataset",
    "describe",
    "evaluation_batches",
    "find",
    "from_arrays",
    "load_dataset",
    "load_or_declare",
    "split",
    "training_batches",
]
