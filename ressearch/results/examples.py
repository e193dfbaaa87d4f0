"""Which examples each replicate of a trial classified right, after the last epoch that it trained: a bit for each, one
small file per trial (``examples/00012.npz``) beside the tables, read when it is asked for.

The examples of a part have one order in all trials of a study, so that two networks can be compared on the same ones.
The store writes a trial's file before it records the trial's end; a file that is not of the trial's last epoch on
record counts as none.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ressearch import durable, remote
from ressearch.errors import StudyError
from ressearch.results.storage import EXAMPLES, is_url

ACCURACIES = {"validation": "seed_val_accuracies", "test": "seed_test_accuracies"}
"""The parts, and the column of the trial table whose values are the means of the bits."""


class Packed(NamedTuple):
    """Which examples of a part each replicate had right.

    Attributes:
        bits: eight examples in a byte, as `numpy.packbits` packs rows, shape (seeds, bytes).
        examples: their number.
    """

    bits: NDArray[np.uint8]
    examples: int

    def unpack(self) -> NDArray[np.bool_]:
        """Return them one by one, shape (seeds, examples)."""
        return np.unpackbits(self.bits, axis=1, count=self.examples).view(np.bool_)

    def agrees(self, accuracies: Iterable[float]) -> bool:
        """Return whether the accuracies of the seeds are those of these examples, exactly."""
        return bool(self.unpack().mean(1).tolist() == list(accuracies))


def pack(correct: NDArray[np.bool_]) -> Packed:
    """Pack rows of truths, shape (seeds, examples); undone by `Packed.unpack`."""
    return Packed(np.packbits(correct, axis=1), correct.shape[1])


class Correct(NamedTuple):
    """What a trial's file holds.

    Attributes:
        epoch: the epoch after which it was so.
        parts: by the name of the part.
    """

    epoch: int
    parts: Mapping[str, Packed]


def file_name(trial: int) -> str:
    """Return the name of a trial's file in the study directory."""
    return f"{EXAMPLES}/{trial:05d}.npz"


def write(directory: Path, trial: int, correct: Correct) -> None:
    """Write a trial's file whole or not at all, and force it to the disk. Raises OSError if it cannot be written."""
    file = directory / file_name(trial)
    if not file.parent.is_dir():
        file.parent.mkdir(exist_ok=True)
        durable.sync_directory(directory)
    durable.replace(file, functools.partial(_save, correct))


def _save(correct: Correct, file: IO[bytes]) -> None:
    arrays: dict[str, Any] = {"epoch": np.int64(correct.epoch)}
    for name, part in correct.parts.items():
        arrays |= {name: part.bits, f"{name}_examples": np.int64(part.examples)}
    np.savez(file, **arrays)


def read(place: str | Path, row: Mapping[Hashable, Any], part: str) -> NDArray[np.bool_] | None:
    """Return which examples of a part a trial's replicates had right, as its row of the trial table has them.

    Args:
        place: the study directory, or its URL.
        row: the trial's row.
        part: ``validation`` or ``test``.

    Returns:
        Shape (seeds, examples); None if that is not on record, or not of the last epoch.

    Raises StudyError if the file cannot be read, is damaged, or is of other accuracies.
    """
    accuracies = row[ACCURACIES[part]]
    if not isinstance(accuracies, Sequence | np.ndarray):  # none: no epoch, or no test
        return None
    file = f"{str(place).rstrip('/')}/{file_name(int(row['trial']))}"
    try:
        content = remote.read(file) if is_url(place) else Path(file).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StudyError(f"{file}: cannot be read: {remote.describe(error)}") from None
    try:
        correct = _parse(content, part)
    except Exception as error:  # the bytes may be anything, and so is what numpy makes of them
        raise StudyError(f"{file}: damaged: {remote.describe(error)}") from None
    if correct.epoch != row["epochs"] or part not in correct.parts:
        return None
    if not correct.parts[part].agrees(accuracies):
        raise StudyError(f"{file}: damaged: its {part} examples are not those of the trial's {ACCURACIES[part]}")
    return correct.parts[part].unpack()


def _parse(content: bytes, part: str) -> Correct:
    """Return the epoch and one part of a file's content. Raises whatever there is if it is damaged."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        epoch = int(arrays["epoch"])
        if part not in arrays:
            return Correct(epoch, {})
        bits, examples = arrays[part], int(arrays[f"{part}_examples"])
    if bits.dtype != np.uint8 or bits.ndim != 2 or bits.shape[1] != -(-examples // 8) or examples < 1:
        raise ValueError(f"{bits.dtype} of shape {bits.shape} does not hold {examples} examples a seed")
    return Correct(epoch, {part: Packed(bits, examples)})
