"""Data sets by name, split once by seed, resident on the device, augmented there."""

from ressearch.data.batches import augment, batches
from ressearch.data.datasets import DATASETS, Dataset, load_dataset
from ressearch.data.splits import Split, Splits, split

__all__ = ["DATASETS", "Dataset", "Split", "Splits", "augment", "batches", "load_dataset", "split"]
