"""Data sets of the Hugging Face hub. Studies read them from the hub's local cache alone; `fetch` fills it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ressearch.data import parts, tables
from ressearch.data.lazy import Lazy
from ressearch.data.paths import described, read_images
from ressearch.data.registry import Dataset, Options, dataset
from ressearch.data.sources import Source
from ressearch.data.spool import Place
from ressearch.errors import DataError


@dataset("hub", argument="OWNER/NAME", get="`pip install datasets`, then `ressearch data fetch hub:OWNER/NAME`")
def hub(argument: str, options: Options) -> Dataset:
    """A data set of the Hugging Face hub that was fetched (or a directory in its format); columns are detected."""
    where = f"hub:{argument}"
    library, splits = _library(argument), _read(argument)
    found = _parts(splits, where)
    first = next(iter(found.values()))
    names = first.column_names
    image = tables.column(names, options.image, tables.IMAGES, "image", where)
    label = tables.require(tables.column(names, options.label, tables.LABELS, "label", where), "label", names, where)
    values = [value for part in found.values() for value in part[label]]
    labels, classes = tables.encode(np.array(values, dtype=object) if None in values else values, where)
    feature = first.features[label]
    if isinstance(feature, library.ClassLabel) and len(feature.names) == len(classes):
        classes = tuple(feature.names)
    counts = {name: len(part) for name, part in found.items()}
    inputs: Tensor | Lazy
    place: Place | None = None
    if image is None:
        # The library's own tables are Arrow's: the same reader as for Parquet and CSV, so the same rules.
        inputs, what = tables.features([part.with_format("arrow")[:] for part in found.values()], label, where)
        said = f"{len(labels):,} rows, {what}, {len(classes)} classes"
    else:
        encoded = [part.cast_column(image, library.Image(decode=False)) for part in found.values()]
        inputs, place = read_images(_HubImages(encoded, image, where), options)
        said = described(len(labels), inputs, classes)
    alone = "" if len(splits) > 1 or "train" in splits else f"; its only split is '{next(iter(splits))}'"
    source = f"the hub's {argument}: {said}{alone}{parts.said(counts)}"
    return Dataset(where, inputs, labels, classes, source, *parts.starts(counts), place)


def _library(argument: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise DataError(f"'hub:{argument}': needs Hugging Face's library: pip install datasets") from None
    return datasets


def _parts(splits: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the splits by part. One split alone, whatever its name, is divided as any data without parts.

    Raises DataError if there are several, but none to train on, or one is empty.
    """
    if len(splits) == 1:
        found = {"train": next(iter(splits.values()))}
    else:
        found = {}
        for name, rows in splits.items():
            part = parts.NAMES.get(str(name).lower())
            if part is not None and part not in found:
                found[part] = rows
        if "train" not in found:
            raise DataError(f"{where}: has no train split; there are {', '.join(map(str, splits))}")
        found = parts.arrange(found)
    for part, rows in found.items():
        if len(rows) == 0:
            raise DataError(f"{where}: its {part} split holds no rows")
    return found


def _read(argument: str) -> Mapping[str, Any]:
    """Read what is here: a directory, or the hub's local cache. Raises DataError if there is nothing."""
    library = _library(argument)
    is_directory = Path(argument).is_dir()
    name = str(Path(argument).absolute()) if is_directory else argument
    try:
        with _offline(), _quiet(library):
            found = library.load_dataset(name)
    except Exception as error:  # the library raises a dozen kinds
        if is_directory or not isinstance(error, OSError):  # offline, the hub's own errors are OSErrors
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise DataError(f"'hub:{argument}': cannot be read: {said}") from None
        raise DataError(
            f"'hub:{argument}': is not in the hub's local cache; `ressearch data fetch hub:{argument}` downloads it"
        ) from None
    return found if isinstance(found, Mapping) else {"train": found}


def fetch(argument: str, say: Callable[[str], None]) -> None:
    """Download a data set of the hub into its local cache. Raises DataError if it cannot be got."""
    library = _library(argument)
    try:
        with _quiet(library):
            found = library.load_dataset(argument)
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"'hub:{argument}': cannot be fetched: {said}") from None
    counts = {name: len(rows) for name, rows in found.items()} if isinstance(found, Mapping) else {"train": len(found)}
    say(f"hub:{argument}: fetched, " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep Hugging Face's libraries off the network, whatever the environment says."""
    import datasets
    import huggingface_hub

    flags = [(datasets.config, "HF_HUB_OFFLINE"), (huggingface_hub.constants, "HF_HUB_OFFLINE")]
    before = [getattr(module, name) for module, name in flags]
    for module, name in flags:
        setattr(module, name, True)
    try:
        yield
    finally:
        for (module, name), value in zip(flags, before, strict=True):
            setattr(module, name, value)


@contextlib.contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Have the library say nothing by itself: what went wrong is one line of ours."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub", "fsspec")]
    levels = [one.level for one in loggers]
    had_bars = library.are_progress_bars_disabled() is False
    library.disable_progress_bars()
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
        if had_bars:
            library.enable_progress_bars()


class _HubImages(Source):
    def __init__(self, found: Sequence[Any], image: str, where: str) -> None:
        self._parts, self._image, self._where = list(found), image, where

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def read(self, index: int) -> tuple[bytes, str]:
        at, where = index, f"{self._where}: row {index}"
        for part in self._parts:
            if at < len(part):
                value = part[at][self._image]
                data = value.get("bytes") if isinstance(value, dict) else value
                if data is None and isinstance(value, dict) and value.get("path"):
                    data = Path(value["path"]).read_bytes()
                if not isinstance(data, bytes):
                    raise DataError(f"{where}: column '{self._image}' holds no encoded image")
                return data, where
            at -= len(part)
        raise IndexError(index)

    def identity(self) -> str:
        return f"{self._where}|{[part._fingerprint for part in self._parts]}"
