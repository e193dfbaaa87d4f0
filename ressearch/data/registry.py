"""What a data set is, and the registry of loaders by name. To add a data set, write a loader under ``@dataset``."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ressearch.data.lazy import Lazy
from ressearch.data.spool import Place, hold, stamp
from ressearch.errors import DataError, MissingDataError
from ressearch.registry import Registry
from ressearch.shapes import Shape


@dataclass(frozen=True)
class Dataset:
    """Inputs and labels.

    Attributes:
        name: the registered name.
        inputs: shape (examples, *input_shape), uint8 as they came or float; `Lazy` if they are decoded when needed.
        labels: class indices, shape (examples,), int64.
        classes: the classes' names.
        source: one sentence: what the data are and where they come from.
        test_from: the examples from here on are the publisher's test part; None if there is none.
        validation_from: the examples from here on, up to the test part, are the publisher's validation part; None if
            there is none.
        place: where the inputs lie in a file that other processes can map; None if they do not.
        missing: why the data are not here; then the inputs have a shape but no numbers (they are on the meta device)
            and the labels are the declared counts of each class, in order. Empty for data that are here.
    """

    name: str
    inputs: Tensor | Lazy
    labels: Tensor
    classes: tuple[str, ...]
    source: str
    test_from: int | None = None
    validation_from: int | None = None
    place: Place | None = None
    missing: str = ""

    @property
    def parts(self) -> dict[str, range]:
        """The validation and test parts that the publisher made, as places of their examples."""
        count = len(self.labels)
        end = count if self.test_from is None else self.test_from
        made = {
            "validation": None if self.validation_from is None else range(self.validation_from, end),
            "test": None if self.test_from is None else range(self.test_from, count),
        }
        return {name: places for name, places in made.items() if places}

    @property
    def content(self) -> str:
        """Hash of the labels and of a hundred inputs, evenly chosen; for images decoded when needed, of the labels."""
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        digest.update(repr((tuple(self.inputs.shape), self.classes)).encode())
        if isinstance(self.inputs, Tensor):
            places = torch.linspace(0, len(self.inputs) - 1, min(100, len(self.inputs))).long()
            digest.update(self.inputs[places].contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def memory(self) -> str:
        """How the inputs are held, in words."""
        return "decoded when needed" if isinstance(self.inputs, Lazy) else "resident"

    @property
    def input_shape(self) -> Shape:
        """Shape of one input: (channels, height, width), (features,) or (tokens, features)."""
        return tuple(self.inputs.shape[1:])


@dataclass(frozen=True)
class Declared:
    """What a published data set holds, known without its files.

    Attributes:
        title: its name and where it was published.
        input_shape: shape of one input.
        classes: the classes' names.
        train, test: examples of each class in the publisher's two parts.
    """

    title: str
    input_shape: Shape
    classes: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def source(self) -> str:
        """One sentence: what the data are and where they come from."""
        return describe_images(self.title, self.input_shape, sum(self.train), sum(self.test))

    def placeholder(self, name: str, missing: str) -> Dataset:
        """Return a data set of this shape, these classes and counts, without numbers."""
        counts = torch.tensor([*self.train, *self.test])
        labels = torch.arange(len(self.classes)).repeat(2).repeat_interleave(counts)
        inputs = torch.empty(len(labels), *self.input_shape, dtype=torch.uint8, device="meta")
        return Dataset(name, inputs, labels, self.classes, self.source, test_from=sum(self.train), missing=missing)


def describe_images(title: str, shape: Shape, train: int, test: int) -> str:
    """Return the sentence on a published set of images of a shape (channels, height, width)."""
    channels, height, width = shape
    kind = "grey" if channels == 1 else "colour"
    return f"{title}: {train:,} training and {test:,} test images of {width}x{height} {kind} pixels"


@dataclass(frozen=True)
class Options:
    """How a data set is read, as a study's `data` section says.

    Attributes:
        root: the directory that holds its files; None looks where `ressearch.data.files.places` says.
        size: side that images are brought to (the shorter side scaled to it, then the middle cut out); None keeps
            them, which then must all be of one size.
        channels: 1 for grey, 3 for colour; None takes what the first image has.
        image: the column of the images or the first of the features; None finds it.
        label: the column of the labels; None finds it.
        verify: check published checksums.
        memory: ``resident`` in memory, ``stream`` decoded when needed, ``auto`` by size.
    """

    root: str | None = None
    size: int | None = None
    channels: int | None = None
    image: str | None = None
    label: str | None = None
    verify: bool = True
    memory: str = "auto"


@dataclass(frozen=True)
class DatasetType:
    """A registered data set, or a kind of file.

    Attributes:
        load: takes what follows the colon of the name (an empty text if nothing), and options.
        argument: what has to follow the colon; None if nothing may.
        summary: one line on what it is.
        get: how to get it, where it needs files.
        declared: what it holds, for a study to be checked where its files are absent; None if only the files know.
    """

    load: Callable[[str, Options], Dataset]
    argument: str | None
    summary: str
    get: str
    declared: Declared | None = None


DATASETS: Registry[DatasetType] = Registry("datasets", DataError, "{name} is unknown")
"""Every data set by name."""

Loader = Callable[[str, Options], Dataset]


def dataset(
    name: str,
    *,
    argument: str | None = None,
    get: str = "",
    declared: Declared | None = None,
    replace: bool = False,
) -> Callable[[Loader], Loader]:
    """Register a loader as data set `name`; its docstring's first line says what it is.

    Args:
        name: what a study's `data.name` calls it.
        argument: what has to follow a colon after the name, such as a file's path; None if nothing may.
        get: how to get the files, if it needs any.
        declared: what it holds, where that is known without its files.
        replace: take the place of a data set of this name.
    """

    def make(load: Loader) -> DatasetType:
        return DatasetType(load, argument, (inspect.getdoc(load) or "").partition("\n")[0], get, declared)

    return DATASETS.register(name, make=make, replace=replace)


def find(name: str) -> tuple[DatasetType, str]:
    """Return the registered type and the argument of a name such as ``digits`` or ``imagefolder:photos``.

    Raises DataError with the nearest name if there is none, or if an argument is missing or too much.
    """
    kind, colon, argument = name.partition(":")
    found = DATASETS.find(kind)
    if found.argument is None and colon:
        raise DataError(f"'{name}': '{kind}' takes nothing after a colon")
    if found.argument is not None and not argument:
        raise DataError(f"'{name}': expected {kind}:{found.argument}")
    return found, argument


def load_dataset(name: str, options: Options = Options()) -> Dataset:
    """Load a data set by name (kept in memory: a process that runs many trials loads it once).

    Raises DataError if there is no such data set, or its files are missing or damaged; the text says what to do.
    """
    if name in _in_memory:
        return _in_memory[name]
    return _loaded(name, options, _state(name.partition(":")[2]))


def load_or_declare(name: str, options: Options = Options()) -> Dataset:
    """Return a data set, or what is declared of it (`Dataset.missing` says why) where its files are absent.

    Raises DataError as `load_dataset`, but for missing files of a data set that is declared.
    """
    try:
        return load_dataset(name, options)
    except MissingDataError as error:
        declared = find(name)[0].declared
        if declared is None:
            raise
        return declared.placeholder(name, str(error))


def _short(classes: Sequence[str]) -> str:
    """Return the first class's name for a message: of one line, not long."""
    return " ".join(classes[0].split())[:60] if classes else "none"


def _state(argument: str) -> tuple[Any, ...]:
    """Return what a relative path depends on, and whether a file is still the one that was read."""
    try:
        return (os.getcwd(), stamp(Path(argument))) if argument else ()
    except (OSError, ValueError):
        return (argument,)


@functools.lru_cache(maxsize=4)
def _loaded(name: str, options: Options, state: tuple[Any, ...]) -> Dataset:
    found, argument = find(name)
    try:
        data = found.load(argument, options)
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"'{name}': does not fit into this machine's memory") from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise DataError(f"'{name}': {where}{(error.strerror or str(error)).lower()}") from None
    except Exception as error:  # a reader met what it does not know: still one line that names the data
        said = (str(error).strip().splitlines() or [""])[0]
        raise DataError(f"'{name}': cannot be read: {type(error).__name__}: {said}") from None
    if not isinstance(data, Dataset):
        what = type(data).__name__
        raise DataError(f"'{name}': its loader returns a {what}, not a Dataset(name, inputs, labels, classes, source)")
    return _checked(name, data)


def _checked(name: str, data: Dataset) -> Dataset:
    """Return a data set that a network can learn from, moved to a file if it is large. Raises DataError."""
    for part, value, kinds in (("inputs", data.inputs, (Tensor, Lazy)), ("labels", data.labels, (Tensor,))):
        if not isinstance(value, kinds):
            raise DataError(f"'{name}': its {part} are a {type(value).__name__}; expected a torch.Tensor")
    if data.labels.dtype != torch.int64 or data.labels.shape != (len(data.inputs),):
        found = f"{data.labels.dtype} of shape {tuple(data.labels.shape)}"
        raise DataError(f"'{name}': its labels are {found}; expected int64, one for each of {len(data.inputs)} inputs")
    present = set(data.labels.unique().tolist())
    last = len(data.classes) - 1
    beyond = min((label for label in present if not 0 <= label <= last), default=None)
    missing = [one for index, one in enumerate(data.classes) if index not in present]
    if len(data.classes) < 2:
        raise DataError(f"'{name}': has one class ({_short(data.classes)}); expected at least two")
    if beyond is not None:
        raise DataError(f"'{name}': label {beyond} is of no class; expected 0 to {last}, one for each class")
    if missing:
        raise DataError(f"'{name}': no example of class {_short(missing)}")
    if isinstance(data.inputs, Tensor) and data.place is None:
        inputs, place = hold(data.inputs)
        data = dataclasses.replace(data, inputs=inputs, place=place)
    return data


IN_MEMORY = "memory:"
"""What the names of data sets begin with that lie in the memory of the process that runs the study."""

_in_memory: dict[str, Dataset] = {}


def keep_in_memory(data: Dataset, name: str | None = None) -> str:
    """Have a data set found by a name in this process; returns that name, ``memory:NAME``.

    Args:
        data: such as `from_arrays` returns.
        name: after the colon [the data set's own].

    Raises DataError if it has fewer than two classes, or a class without an example.
    """
    name = f"{IN_MEMORY}{data.name if name is None else name}"
    _in_memory[name] = dataclasses.replace(_checked(name, data), name=name)
    return name


@dataset("memory", argument="NAME")
def memory(argument: str, options: Options) -> Dataset:
    """Arrays of the process that runs the study, handed over in Python (`ressearch.data.from_arrays`)."""
    raise MissingDataError(
        f"'{IN_MEMORY}{argument}': was in the memory of the process that ran the study; hand it over again: "
        "ressearch.resume(DIRECTORY, data=ressearch.data.from_arrays(...))"
    )


def from_arrays(inputs: Any, labels: Any, name: str = "arrays", classes: Any = None) -> Dataset:
    """Return a data set of arrays, for `ressearch.run(study, data=...)`.

    Args:
        inputs: shape (examples, *input_shape), of numbers: uint8 pixels or floats.
        labels: shape (examples,), of names or numbers.
        name: what reports call it.
        classes: the classes' names, in the order of their numbers [found in the labels].

    Raises DataError if the lengths differ, or values are no numbers.
    """
    from ressearch.data.tables import encode, to_tensor

    indices, names = encode(labels, f"{name}: labels")
    data = to_tensor(inputs, name)
    if len(data) != len(indices):
        raise DataError(f"'{name}': {len(data)} inputs but {len(indices)} labels")
    return Dataset(name, data, indices, tuple(classes) if classes is not None else names, f"arrays ({name})")


def missing(name: str, looked: list[Path], get: str) -> MissingDataError:
    """Return the error for a data set whose files are not there."""
    places = ", ".join(map(str, looked))
    return MissingDataError(f"'{name}': not found in {places}; {get}; or name its directory with data.root")
