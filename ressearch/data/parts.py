"""The parts that a publisher made, by the names of directories, files and splits: train, validation, test.

A validation part that stands without a test part is taken for the test part, as is usual (ImageNet's).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ressearch.errors import DataError

PARTS = ("train", "validation", "test")
"""In the order in which examples are read."""
NAMES = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation"}
NAMES |= {"test": "test", "testing": "test"}
"""The part that a name stands for."""

Kind = TypeVar("Kind")


def part_of(path: Path, root: Path) -> str | None:
    """Return the part that a file belongs to: by a directory under the root, or by a word of the file's name."""
    below = path.relative_to(root) if path != root and root in path.parents else Path(path.name)
    for folder in below.parts[:-1]:
        if folder.lower() in NAMES:
            return NAMES[folder.lower()]
    for word in re.split(r"[-_.\s]+", below.name.lower()):
        if word in NAMES:
            return NAMES[word]
    return None


def arrange(found: Mapping[str, Kind]) -> dict[str, Kind]:
    """Return parts in the order in which they are read; a validation part alone becomes the test part."""
    if "validation" in found and "test" not in found:
        found = {**{name: value for name, value in found.items() if name != "validation"}, "test": found["validation"]}
    return {name: found[name] for name in PARTS if name in found}


def shards(files: Sequence[Path], root: Path) -> dict[str, list[Path]]:
    """Return the files of each part; all of them as ``train`` where the names tell no two parts apart.

    Raises DataError if some files belong to a part and others to none, or there is no training part.
    """
    found: dict[str | None, list[Path]] = {}
    for file in files:
        found.setdefault(part_of(file, root), []).append(file)
    if len(found) <= 1:
        return {"train": list(files)}
    if None in found:
        named = next(one for part, some in found.items() if part is not None for one in some)
        raise DataError(
            f"{found[None][0]}: belongs to no part, beside {named.name}; "
            "have train, test or validation in every name, or in none"
        )
    parts = {part: some for part, some in found.items() if part is not None}
    require_train(parts, str(root))
    return arrange(parts)


def require_train(parts: Iterable[str], where: str) -> None:
    """Raise DataError if there are parts, but none to train on."""
    names = list(parts)
    if "train" not in names:
        raise DataError(f"{where}: has a {' and a '.join(names)} part, but no train part")


def starts(counts: Mapping[str, int]) -> tuple[int | None, int | None]:
    """Return a `Dataset`'s ``test_from`` and ``validation_from`` of how many examples each part has."""
    at = 0
    found: dict[str, int | None] = {}
    for name in PARTS:
        found[name] = at if name in counts else None
        at += counts.get(name, 0)
    return found["test"], found["validation"]


def said(counts: Mapping[str, int], names: Mapping[str, str] = {}) -> str:
    """Say which parts the publisher made, and under which names, for the sentence on a data set."""
    if len(counts) < 2:
        return ""
    told = (f"{count:,} {part}" + (f" ({names[part]})" if part in names else "") for part, count in counts.items())
    return "; published parts: " + ", ".join(told)
