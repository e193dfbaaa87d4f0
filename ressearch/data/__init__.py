"""Data sets by name, split once by seed, resident on the device, augmented there."""

from ressearch.data.augment import AUGMENTATIONS, augment
from ressearch.data.batches import Batch, Resident, evaluation_batches, training_batches
from ressearch.data.datasets import DATASETS, Dataset, load_dataset
from ressearch.data.splits import Split, Splits, split

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "Batch",
    "Dataset",
    "Resident",
    "Split",
    "Splits",
    "augment",
    "evaluation_batches",
    "load_dataset",
    "split",
    "training_batches",
]
